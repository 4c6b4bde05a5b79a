// SPDX-License-Identifier: Apache-2.0
//
// A unit compiled with -ffinite-math-only.
//
// error: -ffinite-math-only breaks NaN handling
// flags: -ffinite-math-only
#include <efficientvit/config.hpp>
