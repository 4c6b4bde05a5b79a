// SPDX-License-Identifier: Apache-2.0
//
// Text for error messages, and UTF-8. Not for users.
#pragma once

#include <efficientvit/error.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Where the first byte stands that cannot be UTF-8 (overlong forms, surrogates and > U+10FFFF are not);
/// text.size() if there is none.
inline std::size_t first_not_utf8(std::string_view text) {
    const auto at = [&text](std::size_t i) -> unsigned {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    std::size_t i = 0;
    while (i < text.size()) {
        const unsigned lead = at(i);
        std::size_t length = 1;
        unsigned least = 0x80;  // the range of the second byte
        unsigned most = 0xbf;
        if (lead >= 0x80) {
            if (lead < 0xc2 || lead > 0xf4) return i;
            length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
            if (lead == 0xe0) least = 0xa0;
            if (lead == 0xed) most = 0x9f;
            if (lead == 0xf0) least = 0x90;
            if (lead == 0xf4) most = 0x8f;
            if (at(i + 1) < least || at(i + 1) > most) return i;
            for (std::size_t k = 2; k < length; ++k) {
                if (at(i + k) < 0x80 || at(i + k) > 0xbf) return i;
            }
        }
        i += length;
    }
    return i;
}

/// For messages: what would disturb a terminal escaped, and cut where it is absurdly long. A file may name a tensor
/// as it likes.
EFFICIENTVIT_COLD inline std::string printable(std::string_view text) {
    std::size_t length = text.size();
    if (length > 300) {
        length = 300;
        while (length > 296 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
    }
    const std::string_view shown = text.substr(0, length);
    const unsigned last = first_not_utf8(shown) == length ? 0xff : 0x7e;
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    bool control = false;  // the second byte of U+0080 … U+009F, which terminals obey as they do escape sequences
    for (std::size_t i = 0; i < length; ++i) {
        const auto byte = static_cast<unsigned char>(shown[i]);
        const bool begins = byte == 0xc2 && i + 1 < length && static_cast<unsigned char>(shown[i + 1]) < 0xa0;
        if (byte >= 0x20 && byte != 0x7f && byte <= last && !begins && !control) {
            out += shown[i];
        } else {
            out += "\\x";
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
        control = begins;
    }
    return length == text.size() ? out : concat({out, "... (", std::to_string(text.size()), " bytes)"});
}

EFFICIENTVIT_COLD inline std::string in_quotes(std::string_view text) { return concat({"'", printable(text), "'"}); }

EFFICIENTVIT_COLD inline std::string shape_text(std::span<const std::int64_t> shape) {
    std::string out = "[";
    for (const std::int64_t extent : shape) {
        if (out.size() > 1) out += ", ";
        out += extent < 0 ? "N" : std::to_string(extent);  // Parameter::any
    }
    out += ']';
    return out;
}

/// "0.5", "32", "nan".
EFFICIENTVIT_COLD inline std::string number_text(double value) {
    std::string text = std::to_string(value);
    if (text.find('.') == std::string::npos) return text;
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text;
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
