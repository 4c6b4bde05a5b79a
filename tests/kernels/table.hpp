// SPDX-License-Identifier: Apache-2.0
//
// The kernels for tests that see nothing else of the library: compiled once, in table.cpp.
#pragma once

#include <efficientvit/kernels/args.hpp>

#include <vector>

const efficientvit::kernels::Table& table_of(efficientvit::Isa isa);
void dense(const efficientvit::kernels::Table& table, const efficientvit::kernels::Dense& args);
void grouped(const efficientvit::kernels::Table& table, const efficientvit::kernels::Dense& args);
void resample(const efficientvit::kernels::Table& table, const efficientvit::kernels::Resample& args);

/// The tables with other operands than floats that can run here.
std::vector<const efficientvit::kernels::Table*> tables_of_bf16();
