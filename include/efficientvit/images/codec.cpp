// SPDX-License-Identifier: Apache-2.0
//
// The decoders and the encoder behind <efficientvit/images/codec.hpp>: compile it once in a program that reads or
// writes pictures, and link libjpeg-turbo and libpng (-ljpeg -lpng). With CMake, efficientvit::codec has it. No other
// file includes the headers of these two libraries, which are C and full of macros.
//
// Both report errors by longjmp. It never leaves a frame that owns something: a step of the work runs in guarded(),
// and steps have pointers and numbers only; what owns the libraries' memory lives outside and frees it.
#include <efficientvit/images/codec_library.hpp>

#if !__has_include(<jpeglib.h>) || !__has_include(<png.h>)
#error \
    "efficientvit/images/codec.cpp needs libjpeg-turbo and libpng: install libjpeg-dev and libpng-dev (Debian, Ubuntu)"
#endif

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include <jpeglib.h>
#include <png.h>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE
namespace codec_library {
namespace {

constexpr const char* cut_short = "the file ends before the picture does";

/// Runs steps of a C library's work, and comes back where the library reports an error.
class LongJumps {
public:
    /// Whether `step` came to its end. It must own nothing: an error leaves it without destructors.
    template <class Step>
    bool guarded(const Step& step) {
        if (setjmp(return_) != 0) return false;
        step();
        return true;
    }
    [[noreturn]] void jump() { std::longjmp(return_, 1); }

    /// The error's text.
    char message[256] = "";

private:
    std::jmp_buf return_;
};

#include <efficientvit/images/codec_jpeg.inl>
#include <efficientvit/images/codec_png.inl>

}  // namespace

void decode_jpeg(const std::byte* file, std::size_t bytes, PixelMemory memory) {
    JpegDecoder(file, bytes).decode(memory);
}

void decode_png(const std::byte* file, std::size_t bytes, PixelMemory memory) {
    PngDecoder(file, bytes).decode(memory);
}

void encode_png(const std::uint8_t* pixels, int height, int width, int channels, ByteSink sink) {
    PngEncoder(sink).encode(pixels, height, width, channels);
}

}  // namespace codec_library
EFFICIENTVIT_END_PLAIN_NAMESPACE
