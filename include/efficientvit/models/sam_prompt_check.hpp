// SPDX-License-Identifier: Apache-2.0
//
// Prompts that cannot be meant are refused, with what was found, expected and where.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/images/image.hpp>
#include <efficientvit/models/sam_prompt.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/text.hpp>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Whether prompts of a picture can be answered.
class PromptCheck {
public:
    /// `low_res`: the size of a mask_input.
    PromptCheck(ImageSize picture, ImageSize low_res) : picture_(picture), low_res_(low_res) {}

    /// Throws PromptError or ShapeError for prompt i of `count` where it cannot.
    void operator()(const SamPrompt& prompt, std::size_t i, std::size_t count) const {
        if (prompt.points.empty() && !prompt.box && !prompt.mask_input) {
            refuse(i, count, {" has neither points nor box nor mask_input, expected one of them"});
        }
        for (std::size_t j = 0; j < prompt.points.size(); ++j) {
            const SamPoint& p = prompt.points[j];
            if (p.label < -1 || p.label > 1) {
                refuse(
                    i, count,
                    {": point ", std::to_string(j), " has label ", std::to_string(p.label), ", expected 1, 0 or -1"});
            }
            if (p.label != -1 && !inside(p.x, p.y)) {
                refuse(i, count, {": point ", std::to_string(j), " is ", numbers({p.x, p.y}), expected_range()});
            }
        }
        if (prompt.box) check_box(*prompt.box, i, count);
        if (prompt.mask_input) {
            const Shape expected{1, 1, low_res_.height, low_res_.width};
            if (prompt.mask_input->shape != expected || prompt.mask_input->data == nullptr) {
                throw ShapeError(concat({"SamPredictor::predict: mask_input is ", to_string(prompt.mask_input->shape),
                                         ", expected ", to_string(expected)}));
            }
        }
    }

private:
    bool inside(const double& x, const double& y) const {
        return !is_nan(x) && !is_nan(y) && x >= 0 && x <= picture_.width && y >= 0 && y <= picture_.height;
    }
    void check_box(const Box& b, std::size_t i, std::size_t count) const {
        if (!inside(b.x0, b.y0) || !inside(b.x1, b.y1)) {
            refuse(i, count, {": the box is ", numbers({b.x0, b.y0, b.x1, b.y1}), expected_range()});
        }
        if (!(b.x0 < b.x1 && b.y0 < b.y1)) {
            refuse(
                i, count,
                {": the box is ", numbers({b.x0, b.y0, b.x1, b.y1}), ", which is empty; expected x0 < x1 and y0 < y1"});
        }
    }

    [[noreturn]] EFFICIENTVIT_COLD static void refuse(std::size_t i, std::size_t count,
                                                      std::initializer_list<std::string_view> what) {
        const std::string which = count == 1 ? "the prompt" : concat({"prompt ", std::to_string(i)});
        throw PromptError(concat({"SamPredictor::predict: ", which, concat(what)}));
    }
    EFFICIENTVIT_COLD std::string expected_range() const {
        return concat({", expected x in [0, ", std::to_string(picture_.width), "] and y in [0, ",
                       std::to_string(picture_.height), "]"});
    }
    /// "(30.5, 4)"
    EFFICIENTVIT_COLD static std::string numbers(std::initializer_list<double> values) {
        std::string out;
        for (const double value : values) out += concat({out.empty() ? "(" : ", ", number_text(value)});
        return out + ")";
    }

    ImageSize picture_, low_res_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
