// SPDX-License-Identifier: Apache-2.0
//
// The only door to the kernels: table(isa) gives the functions for one instruction set, chosen at run time. Every body
// (*.inl) is compiled once for each ISA, inside a region that allows its instructions, whatever the compiler's flags.
// Where EFFICIENTVIT_COMPILED says that another unit has them, the door is compiled/door.hpp's.
#pragma once

#include <efficientvit/kernels/sam_args.hpp>
#include <efficientvit/kernels/winograd_args.hpp>

#if EFFICIENTVIT_KERNELS_HERE && defined(EFFICIENTVIT_X86)
#include <immintrin.h>
#elif EFFICIENTVIT_KERNELS_HERE && defined(EFFICIENTVIT_ARM64)
#include <arm_neon.h>
#elif EFFICIENTVIT_KERNELS_HERE && defined(EFFICIENTVIT_WASM)
#include <wasm_simd128.h>
#endif

#include <efficientvit/kernels/target.hpp>

#include <efficientvit/foreign_macros.hpp>

#if defined(__GNUC__)
#pragma GCC diagnostic push
// Sizes of tiles are ints, as all numbers here; GCC 12 minds where such a one becomes the size of an array.
#pragma GCC diagnostic ignored "-Wsign-conversion"
#if !defined(__clang__)
// And it takes the undefined operand inside its own AVX-512 intrinsics for a mistake of ours (bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#endif

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace scalar {
#include <efficientvit/kernels/isa/scalar.hpp>
#if EFFICIENTVIT_KERNELS_HERE
namespace narrow = scalar;

// How a block of channels lies in vectors, and the largest tiles whose sums stay in registers: pixels of a
// convolution, rows of an outer product.
template <int Block>
struct Lanes {
    using V = Float4;
    static constexpr int vectors = Block / 4;
    static constexpr int tile_pixels = 2;
    static constexpr int tile_blocks = 1;
    static constexpr int tile_addresses = 2;
    static constexpr int tile_stem = 2;
    static constexpr int tile_outer = 2;
    static constexpr int strip_vectors = 1;
    static constexpr bool unrolled_depthwise = false;
};

#include <efficientvit/kernels/bodies.inl>
#endif
}  // namespace scalar
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#if !EFFICIENTVIT_KERNELS_HERE
#elif defined(EFFICIENTVIT_X86)

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX2
namespace kernels {
namespace avx2 {
#include <efficientvit/kernels/isa/avx2.hpp>
namespace narrow = avx2;

template <int Block>
struct Lanes {
    using V = Float8;
    static constexpr int vectors = Block / 8;
    // 6 x 2 sums, 2 weights and a broadcast are 15 registers; more spill.
    static constexpr int tile_pixels = Block == 16 ? 6 : 12;
    static constexpr int tile_blocks = 1;
    static constexpr int tile_addresses = 6;               // where each pixel takes an address register
    static constexpr int tile_stem = Block == 16 ? 4 : 8;  // and three weights a vector
    static constexpr int tile_outer = Block == 16 ? 6 : 8;
    static constexpr int strip_vectors = 1;
    static constexpr bool unrolled_depthwise = true;
};

#include <efficientvit/kernels/bodies.inl>
}  // namespace avx2
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX512
namespace kernels {
namespace avx512 {
using avx2::Float8;
#include <efficientvit/kernels/isa/avx512.hpp>

// Blocks of eight fill half a register, so AVX2's code serves them.
namespace narrow = avx2;

template <int Block>
struct Lanes {
    using V = Float16;
    static constexpr int vectors = 1;
    // 14 x 2 sums, 2 weights and a broadcast are 31 registers. Two blocks, since a core with two FMA units loads just
    // two vectors in the same time: one block is 10 % slower there. 14 divides the widths that networks for 224 pixels
    // have.
    static constexpr int tile_pixels = 14;
    static constexpr int tile_blocks = 2;
    static constexpr int tile_addresses = 8;  // where each pixel takes an address register
    static constexpr int tile_stem = 8;
    static constexpr int tile_outer = 16;
    static constexpr int strip_vectors = 1;
    static constexpr bool unrolled_depthwise = true;
};
#include <efficientvit/kernels/bodies.inl>
}  // namespace avx512
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

#elif defined(EFFICIENTVIT_ARM64)

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace neon {
#include <efficientvit/kernels/isa/neon.hpp>
namespace narrow = neon;

template <int Block>
struct Lanes {
    using V = Float4;
    static constexpr int vectors = Block / 4;
    // 5 x 4 sums, 4 weights and 5 vectors of four inputs are 29 registers; 6 x 4, of which each input would be loaded
    // by itself, take a quarter more instructions.
    static constexpr int tile_pixels = Block == 16 ? 5 : 9;
    static constexpr int tile_blocks = 1;
    static constexpr int tile_addresses = 5;
    static constexpr int tile_stem = Block == 16 ? 4 : 8;
    static constexpr int tile_outer = Block == 16 ? 6 : 8;
    static constexpr int strip_vectors = 2;  // 16 sums of a depthwise convolution: V1 has 16 fmla on their way
    static constexpr bool unrolled_depthwise = true;
};

#include <efficientvit/kernels/bodies.inl>
}  // namespace neon
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#elif defined(EFFICIENTVIT_WASM)

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace wasm {
#include <efficientvit/kernels/isa/wasm.hpp>
namespace narrow = wasm;

template <int Block>
struct Lanes {
    using V = Float4;
    static constexpr int vectors = Block / 4;
    // On x86-64 engines have 15 registers: 8 sums, 4 weights and a broadcast.
    static constexpr int tile_pixels = Block == 16 ? 2 : 4;
    static constexpr int tile_blocks = 1;
    static constexpr int tile_addresses = Block == 16 ? 2 : 4;
    static constexpr int tile_stem = 2;
    static constexpr int tile_outer = Block == 16 ? 2 : 4;
    static constexpr int strip_vectors = 1;
    static constexpr bool unrolled_depthwise = true;
};

#include <efficientvit/kernels/bodies.inl>
}  // namespace wasm
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#endif

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <efficientvit/kernels/target_end.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

/// The same instruction set's kernels of f32.
inline const Table& of_floats(const Table& table) { return table.floats == nullptr ? table : *table.floats; }
/// The same instruction set's kernels for layers of few input channels.
inline const Table& of_few_channels(const Table& table) { return table.few == nullptr ? table : *table.few; }

#if EFFICIENTVIT_KERNELS_HERE
EFFICIENTVIT_BEGIN_TABLES

#define EFFICIENTVIT_TABLE(isa)                                                                         \
    Table {                                                                                             \
        Isa::isa, Operands::f32, isa::pointwise<Operands::f32>, isa::depthwise, isa::stem, isa::affine, \
            isa::inverted_bottleneck<Operands::f32>, isa::linear_attention, isa::quadratic_attention    \
    }

/// The kernels of `isa`. Throws ConfigError where this CPU lacks it, or it is a number that is no Isa.
EFFICIENTVIT_LOCAL inline const Table& table(Isa isa) {
    if (isa < Isa::scalar || isa > Isa::wasm) {
        throw ConfigError(detail::concat({"Isa(", std::to_string(static_cast<int>(isa)), ") is no instruction set"}));
    }
    if (!isa_supported(isa)) {
        throw ConfigError(detail::concat({"this CPU has no ", isa_name(isa), "; its best is ", isa_name(best_isa())}));
    }
    switch (isa) {
#if defined(EFFICIENTVIT_X86)
        case Isa::avx512: {
            static constexpr Table avx512_table = EFFICIENTVIT_TABLE(avx512);
            return avx512_table;
        }
        case Isa::avx2: {
            static constexpr Table avx2_table = EFFICIENTVIT_TABLE(avx2);
            return avx2_table;
        }
#elif defined(EFFICIENTVIT_ARM64)
        case Isa::neon: {
            static constexpr Table neon_table = EFFICIENTVIT_TABLE(neon);
            return neon_table;
        }
#elif defined(EFFICIENTVIT_WASM)
        case Isa::wasm: {
            static constexpr Table wasm_table = EFFICIENTVIT_TABLE(wasm);
            return wasm_table;
        }
#endif
        default:
            break;
    }
    static constexpr Table scalar_table = EFFICIENTVIT_TABLE(scalar);
    return scalar_table;
}
#undef EFFICIENTVIT_TABLE

#if defined(EFFICIENTVIT_X86)
#define EFFICIENTVIT_KERNEL_OF(isa, name) \
    (isa == Isa::avx512 ? avx512::name : isa == Isa::avx2 ? avx2::name : scalar::name)
#elif defined(EFFICIENTVIT_ARM64)
#define EFFICIENTVIT_KERNEL_OF(isa, name) (isa == Isa::neon ? neon::name : scalar::name)
#elif defined(EFFICIENTVIT_WASM)
#define EFFICIENTVIT_KERNEL_OF(isa, name) (isa == Isa::wasm ? wasm::name : scalar::name)
#else
#define EFFICIENTVIT_KERNEL_OF(isa, name) scalar::name
#endif

/// Kernels that not every network has, for the instruction set of a Table.
inline void dense(const Table& table, const Dense& args) {
    if (table.dense != nullptr) return table.dense(args);
    EFFICIENTVIT_KERNEL_OF(table.isa, dense<Operands::f32>)(args);
}
inline void grouped([[maybe_unused]] const Table& table, const Dense& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, grouped)(args);
}
inline void winograd(const Table& table, const Winograd& args) {
    if (table.winograd != nullptr) return table.winograd(args);
    EFFICIENTVIT_KERNEL_OF(table.isa, float_winograd)(args);
}
inline void resample([[maybe_unused]] const Table& table, const Resample& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, resample)(args);
}
inline void layer_norm([[maybe_unused]] const Table& table, const LayerNorm& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, layer_norm)(args);
}
inline void softmax_pixels([[maybe_unused]] const Table& table, const SoftmaxPixels& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, softmax_pixels)(args);
}
inline void softmax_tokens([[maybe_unused]] const Table& table, const SoftmaxTokens& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, softmax_tokens)(args);
}
inline void weighted_sums([[maybe_unused]] const Table& table, const WeightedSums& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, weighted_sums)(args);
}
inline void mask_product([[maybe_unused]] const Table& table, const MaskProduct& args) {
    EFFICIENTVIT_KERNEL_OF(table.isa, mask_product)(args);
}
#undef EFFICIENTVIT_KERNEL_OF

EFFICIENTVIT_END_TABLES
#endif

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

#include <efficientvit/compiled/door.hpp>
