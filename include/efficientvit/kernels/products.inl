// SPDX-License-Identifier: Apache-2.0
//
// The bodies that depend on what is multiplied. Included where bodies.inl is, and by bf16.hpp for units that it does
// not know.

#include <efficientvit/kernels/round.inl>

#include <efficientvit/kernels/pointwise.inl>

#include <efficientvit/kernels/dense.inl>
