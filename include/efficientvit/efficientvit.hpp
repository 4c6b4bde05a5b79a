// SPDX-License-Identifier: Apache-2.0
//
// EfficientViT inference: everything that needs only Eigen. Includes, nothing else. Weights from files come with
// <efficientvit/weights/safetensors.hpp>, which needs nlohmann/json.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/models/backbone.hpp>
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/models/large_backbone.hpp>
#include <efficientvit/models/sam.hpp>
#include <efficientvit/models/sam_image_encoder.hpp>
#include <efficientvit/models/sam_mask_decoder.hpp>
#include <efficientvit/models/sam_prompt_encoder.hpp>
#include <efficientvit/models/segmenter.hpp>
#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/ds_conv.hpp>
#include <efficientvit/nn/efficientvit_block.hpp>
#include <efficientvit/nn/fused_mb_conv.hpp>
#include <efficientvit/nn/identity_layer.hpp>
#include <efficientvit/nn/layer_norm_2d.hpp>
#include <efficientvit/nn/linear_layer.hpp>
#include <efficientvit/nn/lite_mla.hpp>
#include <efficientvit/nn/mb_conv.hpp>
#include <efficientvit/nn/norm.hpp>
#include <efficientvit/nn/op_sequential.hpp>
#include <efficientvit/nn/res_block.hpp>
#include <efficientvit/nn/residual_block.hpp>
#include <efficientvit/nn/up_sample_layer.hpp>
#include <efficientvit/runtime/context.hpp>
#include <efficientvit/tensor.hpp>
#include <efficientvit/weights/state_dict.hpp>

// Behind all others, as it is for the unit that has them compiled.
#include <efficientvit/compiled/implementation.hpp>
