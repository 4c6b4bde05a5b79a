// SPDX-License-Identifier: Apache-2.0
//
// Embeddings that segment_anything keeps beside the pictures.
#pragma once

#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "../common/progress.hpp"

namespace examples {

namespace ev = efficientvit;

/// FNV-1a, 64 bits, of a file's bytes.
inline std::string fingerprint(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::uint64_t hash = 0xcbf29ce484222325U;
    std::vector<char> bytes(1 << 16);
    while (file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())), file.gcount() > 0) {
        for (std::streamsize i = 0; i < file.gcount(); ++i) {
            hash = (hash ^ static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)])) * 0x100000001b3U;
        }
    }
    return std::to_string(hash);
}

/// Embeddings beside the pictures: NAME.jpg.embedding.safetensors, used again for the same picture and weights.
class EmbeddingCache {
public:
    EmbeddingCache(bool on, std::string weights) : on_(on), weights_(std::move(weights)) {}

    void set_image(ev::SamPredictor& predictor, const std::filesystem::path& path, const ev::Image& image,
                   ev::Context& context) const {
        if (!on_) return predictor.set_image(image, context);
        const std::filesystem::path file = std::filesystem::path(path) += ".embedding.safetensors";
        const std::string picture = fingerprint(path);
        try {
            if (std::filesystem::exists(file)) {
                const ev::StateDict state = ev::load_safetensors(file);
                const auto is = [&](const char* key, const std::string& value) {
                    const auto found = state.metadata().find(key);
                    return found != state.metadata().end() && found->second == value;
                };
                if (is("weights", weights_) && is("picture", picture)) return predictor.set_embedding(state, context);
            }
        } catch (const ev::Error&) {  // broken: made anew
        }
        predictor.set_image(image, context);
        check_finite(predictor.get_embedding(), "embeddings");
        ev::StateDict state = predictor.embedding_state();
        state.metadata()["weights"] = weights_;
        state.metadata()["picture"] = picture;
        try {
            ev::save_safetensors(file, state);
        } catch (const ev::Error& error) {
            std::cerr << "segment_anything: " << error.what() << "; goes on without\n";
        }
    }

private:
    bool on_;
    std::string weights_;
};

}  // namespace examples
