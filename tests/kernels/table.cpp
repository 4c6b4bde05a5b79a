// SPDX-License-Identifier: Apache-2.0
//
// The only translation unit of the kernel tests that compiles the kernels.
#include "table.hpp"

#include <efficientvit/kernels/kernels.hpp>

const efficientvit::kernels::Table& table_of(efficientvit::Isa isa) { return efficientvit::kernels::table(isa); }
