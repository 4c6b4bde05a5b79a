// SPDX-License-Identifier: Apache-2.0
//
// A segmentation head with more inputs than the backbone has stages.
//
// error: EfficientViTSeg: inputs must be at least one and at most the backbone's stages
#include <efficientvit/models/segmenter.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int inputs = 6;
#else
constexpr int inputs = 5;
#endif
using Segmenter =
    ev::EfficientViTSeg<ev::BackboneB0,
                        ev::SegHeadConfig{.inputs = inputs, .head_width = 8, .head_depth = 1, .n_classes = 2}>;
static_assert(sizeof(Segmenter) > 0);
