// SPDX-License-Identifier: Apache-2.0
//
// What a JPEG must have before stb may see it. stb fills what is missing with gray or with what was in memory before,
// and that of Debian 12 (2.27) writes past its tables. Decodes nothing: goes from marker to marker, to wherever stb
// may take a segment from.
#pragma once

#include <efficientvit/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// One file's walk.
class JpegCheck {
public:
    using Bytes = std::span<const std::byte>;

    /// What is wrong with the file; empty if stb may see it, as anything that is no JPEG.
    EFFICIENTVIT_COLD static std::string_view fault(Bytes file) { return JpegCheck().walk(file); }

private:
    static unsigned at(Bytes bytes, std::size_t i) { return std::to_integer<unsigned>(bytes[i]); }

    // Segments have lengths, so that neither a thumbnail in the file's head nor a film behind its end is taken for the
    // picture's.
    std::string_view walk(Bytes file) {
        std::size_t i = 0;
        while (i < file.size() && at(file, i) == 0xff) ++i;  // stb takes any number of them for one
        if (i == 0 || i == file.size() || at(file, i) != 0xd8) return {};
        ++i;
        while (i + 1 < file.size()) {
            const unsigned marker = at(file, i + 1);
            if (at(file, i) != 0xff || marker == 0xff) {
                ++i;  // the picture's data, or a byte that fills up
                continue;
            }
            if (marker == 0xd9) return end();
            i += 2;
            if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;  // 0xff in data, restarts: no length
            if (i + 2 > file.size()) break;
            const std::size_t length = at(file, i) << 8 | at(file, i + 1);
            if (length < 2) return "a segment of the JPEG has no length";
            if (length > file.size() - i) break;
            const std::string_view fault = segment(marker, file.subspan(i + 2, length - 2));
            if (!fault.empty()) return fault;
            i += length;
        }
        return "the file ends before the JPEG does";
    }

    std::string_view segment(unsigned marker, Bytes bytes) {
        switch (marker) {
            case 0xc4:
                return huffman_tables(bytes);
            case 0xdb:
                return quantization_tables(bytes);
            case 0xc0:
            case 0xc1:
            case 0xc2:
                return frame(bytes, marker == 0xc2);
            case 0xda:
                return scan(bytes);
            default:
                return {};
        }
    }

    /// Tables of 16 counts and as many values as their sum.
    std::string_view huffman_tables(Bytes bytes) {
        while (!bytes.empty()) {
            const unsigned kind = at(bytes, 0) >> 4, id = at(bytes, 0) & 15;
            if (bytes.size() < 17 || kind > 1 || id > 3) return "a Huffman table of the JPEG is broken";
            std::size_t values = 0;
            for (std::size_t i = 1; i < 17; ++i) values += at(bytes, i);
            // No JPEG of 8 bits has more than 176. stb has room for 256, but takes number 255 for none.
            if (values > 255) return "a Huffman table of the JPEG has more than 255 values";
            if (values > bytes.size() - 17) return "a Huffman table of the JPEG is broken";
            huffman_[kind] |= 1U << id;
            bytes = bytes.subspan(17 + values);
        }
        return {};
    }

    std::string_view quantization_tables(Bytes bytes) {
        while (!bytes.empty()) {
            const unsigned id = at(bytes, 0) & 15;
            const std::size_t size = at(bytes, 0) < 16 ? 65 : 129;
            if (bytes.size() < size || id > 3) return "a quantization table of the JPEG is broken";
            quantization_ |= 1U << id;
            bytes = bytes.subspan(size);
        }
        return {};
    }

    std::string_view frame(Bytes bytes, bool progressive) {
        components_ = bytes.size() < 6 ? 0 : at(bytes, 5);
        if (components_ < 1 || components_ > ids_.size() || bytes.size() != 6 + std::size_t{3} * components_) {
            return "the header of the JPEG is broken";
        }
        for (std::size_t c = 0; c < components_; ++c) {
            ids_[c] = at(bytes, 6 + 3 * c);
            quantized_by_[c] = at(bytes, 8 + 3 * c);
        }
        progressive_ = progressive;
        seen_ = 0;
        return {};
    }

    /// The header of a scan: for each of its components which Huffman tables, then which coefficients.
    std::string_view scan(Bytes bytes) {
        if (components_ == 0) return {};  // of a kind that stb refuses
        const std::size_t count = bytes.empty() ? 0 : at(bytes, 0);
        if (bytes.size() != 4 + 2 * count) return "the header of a scan of the JPEG is broken";
        const bool first = at(bytes, 3 + 2 * count) < 16;  // not one that adds a bit to coefficients
        const bool zero = !progressive_ || at(bytes, 1 + 2 * count) == 0;
        const bool needs_dc = zero && first, needs_ac = !progressive_ || !zero;
        for (std::size_t k = 0; k < count; ++k) {
            const auto* const id = std::find(ids_.data(), ids_.data() + components_, at(bytes, 1 + 2 * k));
            const auto c = static_cast<std::size_t>(id - ids_.data());
            if (c == components_) return "a scan of the JPEG is of a component that it has not";
            const unsigned tables = at(bytes, 2 + 2 * k);
            if ((needs_dc && !has(huffman_[0], tables >> 4)) || (needs_ac && !has(huffman_[1], tables & 15)) ||
                !has(quantization_, quantized_by_[c])) {
                return "a table of the JPEG is missing";
            }
            if (needs_dc) seen_ |= 1U << c;  // stb clears a progressive block where its first coefficient begins
        }
        return {};
    }

    std::string_view end() const {
        if (components_ != 0 && seen_ != (1U << components_) - 1) return "no picture data for a component of the JPEG";
        return {};
    }

    static bool has(unsigned set, unsigned id) { return id < 4 && (set >> id & 1U) != 0; }

    std::array<unsigned, 2> huffman_{};  // sets of those there are: for the first coefficient, for the others
    unsigned quantization_ = 0;          // likewise
    std::size_t components_ = 0;         // 0 before the frame's header
    std::array<unsigned, 4> ids_{}, quantized_by_{};
    bool progressive_ = false;
    unsigned seen_ = 0;  // set of the components that some scan begins
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE
