// SPDX-License-Identifier: Apache-2.0
//
// A unit without exceptions. model_handle.hpp alone compiles so.
//
// error: errors are exceptions, so -fno-exceptions does not go
// flags: -fno-exceptions
#include <efficientvit/kernels/cpu.hpp>
