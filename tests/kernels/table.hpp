// SPDX-License-Identifier: Apache-2.0
//
// The kernels for tests that see nothing else of the library: compiled once, in table.cpp.
#pragma once

#include <efficientvit/kernels/sam_args.hpp>
#include <efficientvit/kernels/winograd_args.hpp>

#include <string>
#include <vector>

const efficientvit::kernels::Table& table_of(efficientvit::Isa isa);
void dense(const efficientvit::kernels::Table& table, const efficientvit::kernels::Dense& args);
void grouped(const efficientvit::kernels::Table& table, const efficientvit::kernels::Dense& args);
void resample(const efficientvit::kernels::Table& table, const efficientvit::kernels::Resample& args);
void layer_norm(const efficientvit::kernels::Table& table, const efficientvit::kernels::LayerNorm& args);
void softmax_pixels(const efficientvit::kernels::Table& table, const efficientvit::kernels::SoftmaxPixels& args);
void softmax_tokens(const efficientvit::kernels::Table& table, const efficientvit::kernels::SoftmaxTokens& args);
void weighted_sums(const efficientvit::kernels::Table& table, const efficientvit::kernels::WeightedSums& args);
void mask_product(const efficientvit::kernels::Table& table, const efficientvit::kernels::MaskProduct& args);

/// The tables with bf16 operands that can run here.
std::vector<const efficientvit::kernels::Table*> tables_of_bf16();
/// The same of int8, scalar first.
std::vector<const efficientvit::kernels::Table*> tables_of_int8();
/// Those with halves: scalar, and Arm's FP16.
std::vector<const efficientvit::kernels::Table*> tables_of_f16();

/// A kernel of Winograd's convolution that can run here.
struct WinogradWay {
    void (*run)(const efficientvit::kernels::Winograd&);
    efficientvit::kernels::Operands weights, products;
    std::string name;
};
std::vector<WinogradWay> ways_of_winograd();
