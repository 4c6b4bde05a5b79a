// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a picture: decoded, or refused by an ImageError with a message.
#include <efficientvit/images/codec.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace ev = efficientvit;
    const auto bytes = std::as_bytes(std::span(data, size));
    try {
        // A few bytes may tell of a picture that takes seconds.
        int width = 0, height = 0, channels = 0;
        if (ev::detail::JpegCheck::fault(bytes).empty() &&
            stbi_info_from_memory(data, static_cast<int>(size), &width, &height, &channels) != 0 &&
            std::int64_t{width} * height > 1 << 18) {
            return 0;
        }
        const ev::Image image = ev::decode_image(bytes);
        if (image.size() != ev::ImageSize{height, width}) std::abort();
    } catch (const ev::ImageError& error) {
        if (std::string(error.what()).empty()) std::abort();
    }
    return 0;
}
