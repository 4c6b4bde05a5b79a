// SPDX-License-Identifier: Apache-2.0
//
// A stage that the backbone has not.
//
// error: Features: this backbone has no such stage
#include <efficientvit/models/backbone.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int stage = 9;
#else
constexpr int stage = 4;
#endif

const ev::Tensor& last(const ev::BackboneB0::Features& features) { return features.stage<stage>(); }
