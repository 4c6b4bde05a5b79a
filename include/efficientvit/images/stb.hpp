// SPDX-License-Identifier: Apache-2.0
//
// The declarations of stb's reader and writer of pictures, wherever the system keeps them: Debian's libstb-dev in stb/,
// stb's own repository at its top. Their code is compiled once in a program, by stb_implementation.inl: which includes
// this again where codec.hpp came before it, so there is no #pragma once.

#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#elif __has_include(<stb_image.h>)
#include <stb_image.h>
#include <stb_image_write.h>
#else
#error "stb_image.h not found: install libstb-dev (Debian, Ubuntu), or add stb's folder to the include path"
#endif
