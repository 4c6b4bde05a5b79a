// SPDX-License-Identifier: Apache-2.0
//
// Batch norm behind a linear layer.
//
// error: LinearLayer: norm must be ln or none
#include <efficientvit/nn/linear_layer.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr ev::Norm norm = ev::Norm::bn2d;
#else
constexpr ev::Norm norm = ev::Norm::ln;
#endif

using Linear = ev::LinearLayer<ev::LinearConfig{.in_features = 4, .out_features = 8, .norm = norm}>;
static_assert(Linear::out_channels == 8);
