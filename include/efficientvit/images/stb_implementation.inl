// SPDX-License-Identifier: Apache-2.0
//
// Compiles stb's reader and writer of pictures. Include it in exactly one .cpp of a program that uses codec.hpp, unless
// the program has stb's implementation already; best in a file of its own, since stb is C.
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_FAILURE_USERMSG
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
