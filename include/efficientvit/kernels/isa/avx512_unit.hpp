// SPDX-License-Identifier: Apache-2.0
//
// What a unit of products with AVX-512's registers begins with: vectors of its own, since functions are found by these
// types and each target region has its own, and tiles as large as those of floats. Included by bf16.hpp and int8.hpp,
// inside a target region and namespace; behind it come the unit's instructions and products.inl.

#include <efficientvit/kernels/isa/avx2.hpp>

#include <efficientvit/kernels/isa/avx512.hpp>

template <int Block>
struct Lanes : avx512::Lanes<Block> {
    using V = Float16;
};
template <>
struct Lanes<8> {  // with the registers of AVX-512
    using V = Float8;
    static constexpr int vectors = 1;
    static constexpr int tile_pixels = 14;
    static constexpr int tile_blocks = 2;
    static constexpr int tile_addresses = 8;
};

#include <efficientvit/kernels/common.inl>

#include <efficientvit/kernels/isa/avx512_rough.hpp>
