// SPDX-License-Identifier: Apache-2.0
//
// Compiles stb's reader and writer of pictures. Include it in exactly one .cpp of a program that uses codec.hpp, unless
// the program has stb's implementation already; best in a file of its own, since stb is C.
#include <cstdlib>

#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_FAILURE_USERMSG
#if !defined(STBI_MALLOC)
// Zeroed: where a damaged file lacks data, stb shows its memory.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(pointer, size) std::realloc(pointer, size)
#define STBI_FREE(pointer) std::free(pointer)
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#include <efficientvit/images/stb.hpp>

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
