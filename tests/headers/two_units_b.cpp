// SPDX-License-Identifier: Apache-2.0
//
// The other of two units that include everything.
#include "every_header.hpp"

const void* kernels_of_b() { return &efficientvit::kernels::table(efficientvit::Isa::scalar); }
efficientvit::Context* context_of_b() { return &efficientvit::thread_context(); }
