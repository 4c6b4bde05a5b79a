// SPDX-License-Identifier: Apache-2.0
//
// Compiles stb's reader and writer of pictures, once for every example and test.
#include <efficientvit/images/stb_implementation.inl>
