// SPDX-License-Identifier: Apache-2.0
//
// What handle.cpp, which sees no Eigen, asks of reference.cpp, which does.
#pragma once

#include <efficientvit/view.hpp>

#include <string>
#include <vector>

/// Writes b0's golden weights to a file.
void write_weights(const std::string& path);

/// Writes the golden weights of b0's classifier of seven classes to a file.
void write_classifier(const std::string& path);

/// What its last layer reads, as its type computes it.
std::vector<float> reference_pre_logits(efficientvit::ConstTensorView image);

/// Every stage of b0 with these weights, as its type computes it.
std::vector<std::vector<float>> reference_stages(efficientvit::ConstTensorView image, bool bf16 = false);
