// SPDX-License-Identifier: Apache-2.0
//
// The kernels of a program whose units define EFFICIENTVIT_COMPILED: compile it once, or include it in a unit of your
// own. With CMake, efficientvit::compiled has it.
#define EFFICIENTVIT_IMPLEMENTATION
#include <efficientvit/compiled/implementation.hpp>
