// SPDX-License-Identifier: Apache-2.0
//
// A picture as SAM's decoder reads it, prompt after prompt.
#pragma once

#include <efficientvit/models/any_sam.hpp>
#include <efficientvit/models/sam_mask_decoder_core.hpp>
#include <efficientvit/models/sam_prompt_encoder_core.hpp>
#include <efficientvit/tensor.hpp>

#include <cstddef>
#include <span>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// A picture's embedding, and what all its prompts share: the places with what stands for no mask added, and the
/// projections of them that the decoder's first layer takes.
class SamPicture {
public:
    /// The embedding; after it was written, prepare().
    Tensor embedding;

    void prepare(const SamParts& parts, Context& context) {
        const TwoWayTransformer& transformer = parts.masks->transformer();
        const auto make = [&](AlignedBuffer<float>& buffer, const ChannelLayout& layout) {
            place_map_in(buffer, layout, parts.prompts->places());
        };
        make(places_, transformer.channels());
        for (AlignedBuffer<float>* buffer : {&keys_, &values_, &queries_}) {
            make(*buffer, transformer.projected_channels());
        }
        context.run(*parts.table, [&](Session& session) {
            const TwoWayImage image = shared(parts);
            if (!session.measuring()) {
                place_embedding(image.places);
                add_everywhere(parts.prompts->no_mask(), image.places);
            }
            transformer.project(session, image);
        });
    }

    /// What prompts without a mask read.
    TwoWayImage shared(const SamParts& parts) const {
        const TwoWayTransformer& transformer = parts.masks->transformer();
        const auto map = [&](const AlignedBuffer<float>& buffer, const ChannelLayout& layout) {
            FeatureMap out = place_map(layout, parts.prompts->places());
            out.data = const_cast<float*>(buffer.data()) + token_block;  // prepare() writes, prompts read
            return out;
        };
        return {map(places_, transformer.channels()), parts.prompts->positions(),
                map(keys_, transformer.projected_channels()), map(values_, transformer.projected_channels()),
                map(queries_, transformer.projected_channels())};
    }

    /// What a prompt with a mask reads, in the session's memory.
    TwoWayImage with_mask(const SamParts& parts, Session& session, const ConstTensorView& mask) const {
        const FeatureMap places =
            new_place_map(session, parts.masks->transformer().channels(), parts.prompts->places());
        if (!session.measuring()) place_embedding(places);
        parts.prompts->add_mask(session, mask.data, places);
        return {.places = places, .positions = parts.prompts->positions()};
    }

private:
    /// The embedding as a map of places.
    void place_embedding(const FeatureMap& places) const {
        FeatureMap from = planar_map({embedding.data(), {1, shape_of(embedding).c, 1, places.width}});
        FeatureMap to = places;
        to.channels = from.channels;
        for (int b = 0; b < places.blocks(); ++b) to_blocked(from, to, 0, b);
    }

    static void add_everywhere(std::span<const float> values, const FeatureMap& places) {
        for (int b = 0; b < places.blocks(); ++b) {
            float added[token_block] = {};
            const std::size_t first = static_cast<std::size_t>(b) * token_block;
            for (std::size_t i = 0; i < token_block && first + i < values.size(); ++i) added[i] = values[first + i];
            float* const y = places.data + b * places.block_stride();
            for (std::ptrdiff_t i = 0; i < std::ptrdiff_t{places.width} * token_block; ++i) {
                y[i] += added[i % token_block];
            }
        }
    }

    AlignedBuffer<float> places_, keys_, values_, queries_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
