// SPDX-License-Identifier: Apache-2.0
//
// What codec.hpp wants of libjpeg-turbo and libpng, without their headers: three functions, which codec.cpp defines.
// Nothing but pointers and numbers crosses, so codec.cpp may be compiled with other flags. Not for users.
#pragma once

#include <efficientvit/images/image.hpp>

#include <cstddef>
#include <cstdint>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE
namespace codec_library {

/// Where a decoder puts its pixels: asked once, when the size is known and the file looks whole, for
/// 3 x height x width bytes. `take` may throw.
struct PixelMemory {
    void* owner = nullptr;
    std::uint8_t* (*take)(void* owner, int height, int width) = nullptr;
};

/// Where an encoder puts its bytes. `append` may throw std::bad_alloc.
struct ByteSink {
    void* owner = nullptr;
    void (*append)(void* owner, const std::uint8_t* bytes, std::size_t count) = nullptr;
};

/// Decodes a JPEG to RGB. Throws ImageError, with the reason and without the file's name, and std::bad_alloc.
void decode_jpeg(const std::byte* file, std::size_t bytes, PixelMemory memory);

/// The same for a PNG.
void decode_png(const std::byte* file, std::size_t bytes, PixelMemory memory);

/// The PNG of height x width pixels of 1 (gray) or 3 (RGB) bytes each. Throws ImageError, std::bad_alloc.
void encode_png(const std::uint8_t* pixels, int height, int width, int channels, ByteSink sink);

}  // namespace codec_library
EFFICIENTVIT_END_PLAIN_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
