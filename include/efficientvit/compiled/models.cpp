// SPDX-License-Identifier: Apache-2.0
//
// All published networks, for programs that use model_handle.hpp: compile it once. With EFFICIENTVIT_COMPILED it takes
// its kernels from kernels.cpp, else it has its own. With CMake, efficientvit::compiled has both.
#include <efficientvit/models/model_handle.inl>
