// SPDX-License-Identifier: Apache-2.0
//
// SAM's decoder behind a C interface, for sam_decoder.py: an embedding once, then points. Not an API to build on.
#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <memory>
#include <span>
#include <string>

#include "guarded.hpp"

namespace ev = efficientvit;

namespace {

// The published decoder behind a small encoder, which the comparison does not run.
using Backbone = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
    .width_list = {8, 8, 8, 16, 16}, .depth_list = {1, 1, 1, 1, 1}, .qkv_dim = 8}>;
using Sam = ev::EfficientViTSam<ev::SamImageEncoder<Backbone, ev::SamNeckConfig{.head_width = 16}>, ev::SamConfig{}>;

struct Decoder final : ev::MaskSink {
    Sam sam;
    std::unique_ptr<ev::SamPredictor> predictor;
    ev::Context context;
    std::vector<ev::SamPrompt> prompts{1};
    float* low_res = nullptr;
    float* iou = nullptr;

    explicit Decoder(int threads) : context({.threads = threads}) {}
    bool wants_masks(int, std::span<const float>) noexcept override { return true; }
    void take_masks(int, std::span<const float> found, const float* planes) noexcept override {
        std::copy(found.begin(), found.end(), iou);
        std::copy_n(planes, found.size() * 256 * 256, low_res);
    }
};

}  // namespace

#define EVS_API extern "C" __attribute__((visibility("default")))

/// Why the last call on this thread returned -1 or null.
EVS_API const char* evs_error() { return last_error.c_str(); }

/// Loads safetensors with prompt_encoder and mask_decoder; the encoder has no weights. bf16: 1 for bfloat16.
EVS_API void* evs_open(const char* weights, int threads, int bf16) {
    std::unique_ptr<Decoder> decoder;
    guarded([&] {
        auto loading = std::make_unique<Decoder>(threads);
        ev::LoadOptions options{.strict = false};
        if (bf16 != 0) options.precision = ev::Precision::bf16;
        loading->sam.load_state_dict(ev::load_safetensors(weights), options);
        loading->predictor = std::make_unique<ev::SamPredictor>(loading->sam);
        decoder = std::move(loading);
    });
    return decoder.release();
}

EVS_API void evs_close(void* decoder) { delete static_cast<Decoder*>(decoder); }

/// (1, 256, 64, 64) of a picture of 1024 x 1024.
EVS_API int evs_embedding(void* decoder, const float* embedding) {
    return guarded([&] {
        Decoder& d = *static_cast<Decoder*>(decoder);
        d.predictor->set_embedding({embedding, {1, 256, 64, 64}}, {1024, 1024}, d.context);
    });
}

/// low_res (3, 256, 256) and iou (3) of one point of the object.
EVS_API int evs_point(void* decoder, double x, double y, float* low_res, float* iou) {
    return guarded([&] {
        Decoder& d = *static_cast<Decoder*>(decoder);
        d.prompts[0].points.assign(1, {x, y, 1});
        d.low_res = low_res;
        d.iou = iou;
        d.predictor->decode(d.prompts, d, d.context);
    });
}
