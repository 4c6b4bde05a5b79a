// SPDX-License-Identifier: Apache-2.0
//
// What a unit of products of 256 bits begins with: as avx512_unit.hpp.

#include <efficientvit/kernels/isa/avx2.hpp>

template <int Block>
struct Lanes : avx2::Lanes<Block> {
    using V = Float8;
};

#include <efficientvit/kernels/common.inl>
