// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a picture: decoded, or refused by an ImageError with a message.
#include <efficientvit/images/codec.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

namespace ev = efficientvit;

/// The largest size that any frame header of a JPEG, or the header of a PNG, could mean.
static ev::ImageSize announced_size(std::span<const std::byte> file) {
    const ev::detail::FileBytes bytes(file);
    if (bytes.text(1, 3) == "PNG") {
        return {static_cast<int>(bytes.number(20, 4) & 0x7fffffff), static_cast<int>(bytes.number(16, 4) & 0x7fffffff)};
    }
    ev::ImageSize largest;
    for (std::size_t i = 0; i + 9 <= file.size(); ++i) {
        if (bytes.number(i, 1) != 0xff || bytes.number(i + 1, 1) < 0xc0 || bytes.number(i + 1, 1) > 0xcf) continue;
        const ev::ImageSize size{static_cast<int>(bytes.number(i + 5, 2)), static_cast<int>(bytes.number(i + 7, 2))};
        if (std::int64_t{size.height} * size.width > std::int64_t{largest.height} * largest.width) largest = size;
    }
    return largest;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    try {
        // A few bytes may tell of a picture that takes seconds.
        if (const ev::ImageSize said = announced_size(bytes); std::int64_t{said.height} * said.width > 1 << 18)
            return 0;
        const ev::Image image = ev::decode_image(bytes, {.apply_orientation = true});
        const ev::Image raw = ev::decode_image(bytes);
        if (image.empty() || image.bytes().size() != raw.bytes().size()) std::abort();
        if (ev::decode_image(ev::encode_png(raw)) != raw) std::abort();
    } catch (const ev::ImageError& error) {
        if (std::string(error.what()).empty()) std::abort();
    }
    return 0;
}
