// SPDX-License-Identifier: Apache-2.0
//
// What handle.cpp, which sees no Eigen, asks of reference.cpp, which does.
#pragma once

#include <efficientvit/view.hpp>

#include <string>
#include <vector>

/// Writes b0's golden weights to a file.
void write_weights(const std::string& path);

/// Every stage of b0 with these weights, as its type computes it.
std::vector<std::vector<float>> reference_stages(efficientvit::ConstTensorView image, bool bf16 = false);
