// SPDX-License-Identifier: Apache-2.0
//
// The only translation unit of the kernel tests that compiles the kernels.
#include "table.hpp"

#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>

namespace kernels = efficientvit::kernels;

const kernels::Table& table_of(efficientvit::Isa isa) { return kernels::table(isa); }
void dense(const kernels::Table& table, const kernels::Dense& args) { kernels::dense(table, args); }
void grouped(const kernels::Table& table, const kernels::Dense& args) { kernels::grouped(table, args); }
void resample(const kernels::Table& table, const kernels::Resample& args) { kernels::resample(table, args); }
void layer_norm(const kernels::Table& table, const kernels::LayerNorm& args) { kernels::layer_norm(table, args); }
void softmax_pixels(const kernels::Table& table, const kernels::SoftmaxPixels& args) {
    kernels::softmax_pixels(table, args);
}
void softmax_tokens(const kernels::Table& table, const kernels::SoftmaxTokens& args) {
    kernels::softmax_tokens(table, args);
}
void weighted_sums(const kernels::Table& table, const kernels::WeightedSums& args) {
    kernels::weighted_sums(table, args);
}
void mask_product(const kernels::Table& table, const kernels::MaskProduct& args) { kernels::mask_product(table, args); }

std::vector<const kernels::Table*> tables_of_bf16() {
    using efficientvit::Bf16Unit, efficientvit::Isa;
    std::vector<const kernels::Table*> out;
    for (const Isa isa : {Isa::scalar, Isa::neon, Isa::wasm, Isa::avx2, Isa::avx512}) {
        if (efficientvit::isa_supported(isa)) out.push_back(&kernels::bf16_weights_table<void>(isa));
    }
    for (const Bf16Unit unit : {Bf16Unit::avx512_bf16, Bf16Unit::amx, Bf16Unit::neon_bf16}) {
        if (!efficientvit::bf16_unit_supported(unit)) continue;
        out.push_back(&kernels::bf16_unit_table<void>(efficientvit::best_isa(), unit));
    }
    return out;
}

std::vector<const kernels::Table*> tables_of_int8() {
    using efficientvit::Int8Unit, efficientvit::Isa;
    std::vector<const kernels::Table*> out;
    for (const Isa isa : {Isa::scalar, Isa::neon, Isa::wasm, Isa::avx2, Isa::avx512}) {
        if (efficientvit::isa_supported(isa)) out.push_back(&kernels::int8_unit_table<void>(isa, Int8Unit::none));
    }
    for (const Int8Unit unit :
         {Int8Unit::avx_vnni, Int8Unit::avx512_vnni, Int8Unit::neon_dotprod, Int8Unit::neon_i8mm}) {
        if (!efficientvit::int8_unit_supported(unit)) continue;
        out.push_back(&kernels::int8_unit_table<void>(efficientvit::int8_unit_isa(unit), unit));
    }
    return out;
}

std::vector<WinogradWay> ways_of_winograd() {
    using efficientvit::Isa, kernels::Operands;
    std::vector<WinogradWay> out;
    const auto add = [&](Isa isa, const char* products, void (*run)(const kernels::Winograd&), Operands weights,
                         Operands multiplied) {
        if (efficientvit::isa_supported(isa)) {
            out.push_back({run, weights, multiplied, std::string(efficientvit::isa_name(isa)) + products});
        }
    };
#define EFFICIENTVIT_WAYS(isa)                                                                             \
    add(Isa::isa, "", kernels::isa::winograd<Operands::f32, Operands::f32>, Operands::f32, Operands::f32); \
    add(Isa::isa, "_bytes", kernels::isa::winograd<Operands::int8, Operands::f32>, Operands::int8, Operands::f32)
    EFFICIENTVIT_WAYS(scalar);
#if defined(EFFICIENTVIT_X86)
    EFFICIENTVIT_WAYS(avx2);
    EFFICIENTVIT_WAYS(avx512);
    if (efficientvit::bf16_unit_supported(efficientvit::Bf16Unit::avx512_bf16)) {
        add(Isa::avx512, "_bytes_bf16", kernels::avx512_bf16::winograd<Operands::int8, Operands::bf16>, Operands::int8,
            Operands::bf16);
    }
#elif defined(EFFICIENTVIT_ARM64)
    EFFICIENTVIT_WAYS(neon);
#elif defined(EFFICIENTVIT_WASM)
    EFFICIENTVIT_WAYS(wasm);
#endif
#undef EFFICIENTVIT_WAYS
    return out;
}

std::vector<const kernels::Table*> tables_of_f16() {
    using efficientvit::F16Unit, efficientvit::Isa;
    std::vector<const kernels::Table*> out{&kernels::f16_unit_table<void>(Isa::scalar, F16Unit::none)};
    if (efficientvit::f16_unit_supported(F16Unit::neon_fp16)) {
        out.push_back(&kernels::f16_unit_table<void>(Isa::neon, F16Unit::neon_fp16));
    }
    return out;
}
