// SPDX-License-Identifier: Apache-2.0
//
// Predicted IoUs and logits that are no finite numbers are reported: NaN is above no threshold, so that damaged weights
// would look like a picture without objects.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/models/sam_mask_decoder_core.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/runtime/platform.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Whether all of them are finite numbers; NaN and infinities are those whose exponent has all bits set.
inline bool all_finite(const float* x, std::size_t count) {
    constexpr std::size_t lanes = 16;  // so that the compiler makes vectors of them
    std::uint32_t carries[lanes] = {};
    const auto carry = [](const float& value) {
        std::uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        return (bits & 0x7f800000U) + 0x00800000U;
    };
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) {
        for (std::size_t k = 0; k < lanes; ++k) carries[k] |= carry(x[i + k]);
    }
    for (; i < count; ++i) carries[0] |= carry(x[i]);
    std::uint32_t any = 0;
    for (const std::uint32_t bits : carries) any |= bits;
    return (any & 0x80000000U) == 0;
}

/// Passes on what another sink is told, but for what is not finite.
class FiniteSink final : public MaskSink {
public:
    /// `plane`: the logits of a mask.
    FiniteSink(MaskSink& next, std::size_t plane) : next_(next), plane_(plane) {}

    bool wants_masks(int i, std::span<const float> iou) noexcept override {
        const auto found = std::find_if(iou.begin(), iou.end(), [](const float& value) { return !is_finite(value); });
        if (found == iou.end()) return next_.wants_masks(i, iou);
        report(i, *found);
        return false;
    }
    void take_masks(int i, std::span<const float> iou, const float* low_res) noexcept override {
        const float* const end = low_res + iou.size() * plane_;
        if (all_finite(low_res, iou.size() * plane_)) return next_.take_masks(i, iou, low_res);
        report(i, *std::find_if(low_res, end, [](const float& value) { return !is_finite(value); }));
    }

    /// Throws WeightsError for the first prompt, of `count`, whose answer is not finite.
    void check(std::size_t count) const {
        if (prompt_ < 0) return;
        const std::string_view value = is_nan(value_) ? "NaN" : "an infinity";
        const std::string which = count == 1 ? "the prompt" : concat({"prompt ", std::to_string(prompt_)});
        throw WeightsError(concat({"SamPredictor::predict: found ", value, " in the answer to ", which,
                                   ", expected finite numbers; the weights, the picture's embedding or mask_input "
                                   "have such values or huge ones"}));
    }

private:
    EFFICIENTVIT_COLD void report(int i, const float& value) noexcept {
        const Lock lock(mutex_);
        if (prompt_ >= 0 && prompt_ <= i) return;
        prompt_ = i;
        value_ = value;
    }

    MaskSink& next_;
    std::size_t plane_;
    Mutex mutex_;
    int prompt_ = -1;
    float value_ = 0;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
