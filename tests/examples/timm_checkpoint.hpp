// SPDX-License-Identifier: Apache-2.0
//
// A checkpoint as timm's train.py leaves it: weights and their moving average, the optimizer's state, the scaler's, and
// the arguments as an argparse.Namespace.
#pragma once

#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/timm_names.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../weights/torch_files.hpp"

/// Adds the values as a storage; the tensor's pickle.
inline std::string store(Zip& zip, const std::vector<float>& values, const std::vector<std::int64_t>& shape) {
    const std::string key = std::to_string(zip.members.size());
    zip.members.push_back({.name = "archive/data/" + key,
                           .data = {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
    std::string extents = "(", strides = "(";
    std::int64_t stride = static_cast<std::int64_t>(values.size());
    for (const std::int64_t extent : shape) {
        stride /= extent;
        extents += p_int(extent);
        strides += p_int(stride);
    }
    return p_tensor(p_storage(key, static_cast<std::int64_t>(values.size())), 0, extents + "t", strides + "t");
}

/// The tensors of a classifier of the B family by timm's names, each value times `scale`.
inline std::string store_all(Zip& zip, const efficientvit::StateDict& weights, float scale) {
    namespace detail = efficientvit::detail;
    std::string items;
    for (const auto& [name, entry] : weights) {
        std::vector<float> values = efficientvit::to_float(entry);
        for (float& value : values) value *= scale;
        items += p_text(detail::timm_name(name, detail::Family::b)) + store(zip, values, entry.shape);
    }
    return p_ordered_dict() + "(" + items + "u";
}

inline void save_timm_checkpoint(const std::filesystem::path& path, const efficientvit::StateDict& weights) {
    Zip zip{.members = {{.name = "archive/data.pkl"}}};
    const std::string arguments = p_global("argparse", "Namespace") + ")\x81" +
                                  p_dict({p_text("model"), p_text("efficientvit_b0.r224_in1k"), p_text("lr"),
                                          p_text("0.001"), p_text("data_dir"), p_text("/data/pets")}) +
                                  "b";
    const std::string metric = p_global("numpy._core.multiarray", "scalar") + "(" + p_global("numpy", "dtype") + "(" +
                               p_text("f8") + "\x89\x88tR" + "(K\3" + p_text("<") +
                               "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + std::string(1, '\0') + "tb" +
                               p_global("_codecs", "encode") + "(" + p_text("abcdefgh") + p_text("latin1") + "tRtR";
    const std::string moments = p_dict({p_text("step"), p_int(8), p_text("exp_avg"), store(zip, {1, 2, 3, 4}, {2, 2})});
    zip.members[0].data =
        pickle_of(p_dict({p_text("epoch"), p_int(0), p_text("arch"), p_text("efficientvit_b0"), p_text("state_dict"),
                          store_all(zip, weights, 1), p_text("optimizer"),
                          p_dict({p_text("state"), p_dict({p_int(0), moments})}), p_text("version"), p_int(2),
                          p_text("args"), arguments, p_text("amp_scaler"), p_dict({p_text("scale"), p_int(65536)}),
                          p_text("state_dict_ema"), store_all(zip, weights, 0.98f), p_text("metric"), metric}));
    zip.members.push_back({.name = "archive/version", .data = "3\n"});
    std::ofstream(path, std::ios::binary) << zip.bytes();
}
