// SPDX-License-Identifier: Apache-2.0
//
// One kernel, which a debug build compiles as a release does.
#include <efficientvit/kernels/kernels.hpp>

void convolve(const efficientvit::kernels::Table& table, const efficientvit::kernels::Dense& args) {
    efficientvit::kernels::dense(table, args);
}
