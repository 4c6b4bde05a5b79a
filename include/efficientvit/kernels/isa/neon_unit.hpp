// SPDX-License-Identifier: Apache-2.0
//
// What every unit of products on Arm begins with: as avx512_unit.hpp.

#include <efficientvit/kernels/isa/neon.hpp>

template <int Block>
struct Lanes : neon::Lanes<Block> {
    using V = Float4;
};

#include <efficientvit/kernels/common.inl>
