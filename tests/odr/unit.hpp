// SPDX-License-Identifier: Apache-2.0
//
// What the units of this program know of each other: views, which may cross between units of different -m flags.
// Eigen's own types may not.
#pragma once

#include <efficientvit/tensor.hpp>

inline constexpr efficientvit::Shape odr_input{1, 3, 18, 22};
inline constexpr efficientvit::Shape odr_output{1, 16, 9, 11};

/// A small network with weights made from their names, compiled with the flags of the unit. False, with a message on
/// stderr, where it throws.
using OdrForward = bool(efficientvit::ConstTensorView, efficientvit::TensorView);
OdrForward forward_plain, forward_avx2, forward_avx512;
