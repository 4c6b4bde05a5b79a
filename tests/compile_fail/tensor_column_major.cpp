// SPDX-License-Identifier: Apache-2.0
//
// A tensor in Eigen's default order, which is not NCHW in memory.
//
// error: efficientvit reads NCHW: the tensor must be Eigen::RowMajor
#include <efficientvit/nn/conv_layer.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr auto order = Eigen::ColMajor;
#else
constexpr auto order = Eigen::RowMajor;
#endif

using Conv = ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 8}>;
ev::Tensor run(const Conv& conv, const Eigen::Tensor<float, 4, order>& image) { return conv.forward(image); }
