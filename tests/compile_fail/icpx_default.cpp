// SPDX-License-Identifier: Apache-2.0
//
// A unit as icpx compiles it where nothing is said of floating point.
//
// error: icpx, whose default it is: with -fp-model=precise
// flags: -D__FAST_MATH__
#include <efficientvit/config.hpp>
