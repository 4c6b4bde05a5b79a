// SPDX-License-Identifier: Apache-2.0
//
// A unit compiled with -ffast-math.
//
// error: -ffast-math (/fp:fast) breaks NaN handling and sets flush-to-zero for the whole process
// flags: -ffast-math
#include <efficientvit/config.hpp>
