// SPDX-License-Identifier: Apache-2.0
//
// The bodies that depend on what is multiplied, behind common.inl and a depthwise(). Included by bodies.inl, and by
// bf16.hpp for units that bodies.inl does not know.

#include <efficientvit/kernels/round.inl>

#include <efficientvit/kernels/pointwise.inl>

#include <efficientvit/kernels/dense.inl>

#include <efficientvit/kernels/inverted_bottleneck.inl>
