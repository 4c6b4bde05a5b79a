// SPDX-License-Identifier: Apache-2.0
//
// All kernel bodies. Included by kernels.hpp once for each ISA.

#include <efficientvit/kernels/common.inl>

#include <efficientvit/kernels/depthwise.inl>

#include <efficientvit/kernels/products.inl>

#include <efficientvit/kernels/stem.inl>

#include <efficientvit/kernels/affine.inl>

#include <efficientvit/kernels/attention.inl>

#include <efficientvit/kernels/resample.inl>

#include <efficientvit/kernels/layer_norm.inl>

#include <efficientvit/kernels/token_attention.inl>

#include <efficientvit/kernels/winograd.inl>

inline void float_winograd(const Winograd& a) { winograd<Operands::f32, Operands::f32>(a); }
