// SPDX-License-Identifier: Apache-2.0
//
// The only translation unit of the kernel tests that compiles the kernels.
#include "table.hpp"

#include <efficientvit/kernels/kernels.hpp>

namespace kernels = efficientvit::kernels;

const kernels::Table& table_of(efficientvit::Isa isa) { return kernels::table(isa); }
void dense(const kernels::Table& table, const kernels::Dense& args) { kernels::dense(table, args); }
void grouped(const kernels::Table& table, const kernels::Dense& args) { kernels::grouped(table, args); }
void resample(const kernels::Table& table, const kernels::Resample& args) { kernels::resample(table, args); }
