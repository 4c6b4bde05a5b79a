// SPDX-License-Identifier: Apache-2.0
//
// The checks of whole networks against what is stored of them, for the translation units that each instantiate some.
#pragma once

#include "golden_file.hpp"

/// Names and shapes of a published model, in its order.
inline std::vector<std::string> published(const std::string& model) {
    const ev::MappedFile file(std::filesystem::path(EFFICIENTVIT_TEST_DATA) / "names" / ("keys_" + model + ".json"));
    const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
    const auto json = nlohmann::ordered_json::parse(text, text + file.bytes().size());
    std::vector<ev::Parameter> out;
    for (const auto& [name, shape] : json.items()) out.push_back({name, shape});
    return lines(out);
}

/// Every stage that the file holds, for 1, 2 and 3 threads; the last one by forward_final too.
template <class Backbone>
void check_backbone(const std::string& name, ev::Isa isa, double limit = bound) {
    const GoldenFile golden("backbone_" + name);
    const Backbone backbone = golden_layer<Backbone>(isa);
    const ev::Tensor image = golden_input(golden.input_shape());
    typename Backbone::Features first, features;
    int stages = 0;
    for (const int threads : {1, 2, 3}) {
        ev::Context context({.threads = threads});
        ASSERT_EQ(context.threads(), threads);
        backbone.forward(image, threads == 1 ? first : features, context);
        for (int i = 0; i < Backbone::stages; ++i) {
            if (threads > 1) {
                EXPECT_TRUE(same_bits(features[i], first[i])) << "stage " << i << ", " << threads << " threads";
                continue;
            }
            const std::string stage = "stage" + std::to_string(i);
            if (!golden.has(stage)) continue;
            ++stages;
            const double error = relative_error(first[i], golden.map(stage));
            EXPECT_LE(error, limit) << stage;
            golden.report(stage, isa, error);
        }
        EXPECT_TRUE(same_bits(backbone.forward_final(image, context), first.stage_final())) << threads << " threads";
    }
    EXPECT_GE(stages, 2);
}

template <class Classifier>
void check_classifier(const std::string& name, ev::Isa isa, double limit = bound) {
    const GoldenFile golden(name);
    const auto classifier = golden_layer<Classifier>(isa);
    golden.report("logits", isa, check_forward(classifier, golden.input_shape(), golden.map("logits"), name, limit));
}
