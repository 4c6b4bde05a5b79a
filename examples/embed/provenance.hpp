// SPDX-License-Identifier: Apache-2.0
//
// Of what features are: which weights, by their contents, and which picture, by path, size and time. Started again,
// embed tells by it what is done, what is stale and what is of another run.
#pragma once

#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/replacement_file.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <zlib.h>

#include "../common/text.hpp"

namespace examples {

namespace ev = efficientvit;
namespace fs = std::filesystem;

using Metadata = ev::StateDict::Metadata;

/// zlib's CRC-32 of all tensors and their names, and how many bytes they have: the same for the same weights in
/// whichever file, and of one file another for each entry of a checkpoint.
inline std::string contents_of(const ev::StateDict& weights) {
    std::vector<std::byte> part(std::size_t{1} << 20);
    uLong crc = crc32(0, nullptr, 0);
    const auto add = [&](const void* bytes, std::size_t count) {
        crc = crc32(crc, static_cast<const Bytef*>(bytes), static_cast<uInt>(count));
    };
    unsigned long long size = 0;
    for (const auto& [name, entry] : weights) {
        add(name.data(), name.size());
        for (std::size_t at = 0; at < entry.data.size(); at += part.size()) {
            const std::span<std::byte> read = std::span(part).first(std::min(part.size(), entry.data.size() - at));
            entry.owner->read(entry.data.data() + at, read);
            add(read.data(), read.size());
        }
        size += entry.data.size();
    }
    char text[48];
    std::snprintf(text, sizeof(text), "crc32 %08lx, %llu bytes", crc, size);
    return text;
}

/// A picture's size in bytes and when it was changed; "?" for one that is not there.
inline std::string stamp_of(const fs::path& path) {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(path, error);
    if (error) return "?";
    const fs::file_time_type time = fs::last_write_time(path, error);
    if (error) return "?";
    return std::to_string(bytes) + " bytes, " + std::to_string(time.time_since_epoch().count());
}

/// A picture and what it was when the run began.
struct Source {
    fs::path path;
    std::string stamp;
};

inline std::vector<Source> sources_of(const std::vector<fs::path>& paths) {
    std::vector<Source> sources;
    for (const fs::path& path : paths) sources.push_back({path, stamp_of(path)});
    return sources;
}

/// What may have changed under a name since a file was made: then it is made again.
inline bool is_content(const std::string& key) {
    return key == "weights_contents" || key == "image_path" || key == "image_stamp" || key == "picture_stamps";
}

/// Whether what `path` says of itself is what this run would write; false if it is stale. Throws std::runtime_error
/// where it is of another run, which had other options or weights of another name.
inline bool is_current(const fs::path& path, const Metadata& found, const Metadata& wanted) {
    const auto value = [&](const std::string& key) {
        const auto at = found.find(key);
        return at == found.end() ? std::string("nothing") : at->second;
    };
    const bool same_weights = value("weights_contents") == wanted.at("weights_contents");
    bool current = true;
    for (const auto& [key, now] : wanted) {
        const std::string was = value(key);
        if (was == now || (key == "weights" && same_weights)) continue;
        if (is_content(key)) {
            current = false;
            continue;
        }
        throw std::runtime_error(shown(path) + ": is there already, of another run: its " + key +
                                 (key == "pictures" ? " are others" : " is " + was + ", now " + now) +
                                 "; say --overwrite, or another --output");
    }
    return current;
}

/// Likewise for a safetensors file; false where there is none, or none that can be read.
inline bool is_done(const fs::path& path, const Metadata& wanted) {
    std::error_code error;
    if (!fs::exists(path, error)) return false;
    Metadata found;
    try {
        found = ev::load_safetensors(path).metadata();
    } catch (const ev::WeightsError&) {
        return false;
    }
    return is_current(path, found, wanted);
}

/// What a NumPy file cannot say of itself, in a text file beside it: "key: value", one a line.
inline void save_note(const fs::path& path, const Metadata& about) {
    std::string text;
    for (const auto& [key, value] : about) text += key + ": " + one_line(value) + '\n';
    ev::detail::ReplacementFile file(path);
    file.write(std::as_bytes(std::span(text)));
    file.keep();
}

/// Likewise for such a pair.
inline bool is_done(const fs::path& numpy, const fs::path& note, const Metadata& wanted) {
    std::error_code error;
    if (!fs::exists(numpy, error) || !fs::exists(note, error)) return false;
    Metadata found;
    for (const std::string& line : text_lines(note)) {
        const std::size_t colon = line.find(": ");
        if (colon != std::string::npos) found[line.substr(0, colon)] = line.substr(colon + 2);
    }
    Metadata lines = wanted;
    for (auto& [key, value] : lines) value = one_line(value);
    return is_current(note, found, lines);
}

}  // namespace examples
