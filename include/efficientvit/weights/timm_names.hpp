// SPDX-License-Identifier: Apache-2.0
//
// What timm calls the tensors of the reference's models. Names only: where a file's names begin and which
// convention it follows is decided in name_matching.hpp.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/weights/text.hpp>

#include <cstddef>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// B has an `input_stem` beside stages 0..3; L has its stem in `stages.0`, so that timm counts its stages from one
/// less.
enum class Family { b, l };

/// Cuts `word` off the front of `text` if it stands there.
inline bool cut_front(std::string_view& text, std::string_view word) {
    if (!text.starts_with(word)) return false;
    text.remove_prefix(word.size());
    return true;
}

/// Cuts a number and the dot behind it off the front; false, and nothing cut, if none stands there.
inline bool cut_index(std::string_view& text, std::size_t& index) {
    std::size_t length = 0;
    index = 0;
    while (length < text.size() && length < 6 && text[length] >= '0' && text[length] <= '9') {
        index = index * 10 + static_cast<std::size_t>(text[length] - '0');
        ++length;
    }
    if (length == 0 || length == text.size() || text[length] != '.') return false;
    text.remove_prefix(length + 1);
    return true;
}

/// timm's name for the reference's `official` (with or without `backbone.` before it), as in a timm classifier
/// of that family; empty where timm has no such tensor. A stage alone (`op_list.<i>…`) is known too.
EFFICIENTVIT_COLD inline std::string timm_name(std::string_view official, Family family) {
    std::string_view rest = official;
    std::size_t stage = 0;
    std::size_t index = 0;
    const auto stem = [&rest, &index] {
        return index == 0 ? concat({"stem.in_conv.", rest})
                          : concat({"stem.res", std::to_string(index - 1), ".", rest});
    };
    if (cut_front(rest, "head.op_list.")) {
        if (cut_front(rest, "0.")) return concat({"head.in_conv.", rest});
        if (cut_front(rest, "2.linear.")) return concat({"head.classifier.0.", rest});
        if (cut_front(rest, "2.norm.")) return concat({"head.classifier.1.", rest});
        if (cut_front(rest, "3.linear.")) return concat({"head.classifier.4.", rest});
        return {};
    }
    const bool wrapped = cut_front(rest, "backbone.");
    if (family == Family::b && cut_front(rest, "input_stem.op_list.") && cut_index(rest, index)) return stem();
    if (cut_front(rest, "stages.") && cut_index(rest, stage) && cut_front(rest, "op_list.") && cut_index(rest, index)) {
        if (family == Family::l && stage == 0) return stem();
        if (family == Family::l) --stage;
        return concat({"stages.", std::to_string(stage), ".blocks.", std::to_string(index), ".", rest});
    }
    if (!wrapped && rest == official && cut_front(rest, "op_list.") && cut_index(rest, index)) {
        return concat({"blocks.", std::to_string(index), ".", rest});
    }
    return {};
}

/// The name that the same tensor has in timm's `features_only` models, given its name in timm's classifier; empty
/// for a head's tensor, which these have not.
EFFICIENTVIT_COLD inline std::string timm_features_name(std::string_view timm) {
    if (cut_front(timm, "stem.")) return concat({"stem_", timm});
    if (cut_front(timm, "stages.")) return concat({"stages_", timm});
    return {};
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
