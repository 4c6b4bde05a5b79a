// SPDX-License-Identifier: Apache-2.0
//
// Masks as COCO's JSON, and prompts from JSON.
#pragma once

#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/models/mask_generator.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace examples {

namespace ev = efficientvit;

/// A file's JSON. Throws std::runtime_error, which names it.
inline nlohmann::json read_json(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path.string() + ": cannot be opened");
    try {
        return nlohmann::json::parse(file);
    } catch (const nlohmann::json::exception& error) {
        throw std::runtime_error(path.string() + ": " + error.what());
    }
}

/// One annotation; `image` and `id` are its numbers.
inline nlohmann::json annotation(const ev::MaskRecord& record, ev::ImageSize size) {
    return {{"category_id", 1},
            {"segmentation", {{"size", {size.height, size.width}}, {"counts", record.coco_rle}}},
            {"area", record.area},
            {"bbox", record.bbox},
            {"iscrowd", 0},
            {"predicted_iou", record.predicted_iou},
            {"stability_score", record.stability_score},
            {"point_coords", {{record.point_coords.x, record.point_coords.y}}},
            {"crop_box", record.crop_box}};
}

/// A prompt of {"points": [[x, y, label], …], "box": [x0, y0, x1, y1], "multimask": true}; label 1 may be left out.
/// Throws std::runtime_error.
inline ev::SamPrompt prompt_of(const nlohmann::json& json) {
    try {
        ev::SamPrompt prompt;
        for (const auto& [name, value] : json.items()) {
            if (name == "points") {
                for (const nlohmann::json& p : value) {
                    if (p.size() != 2 && p.size() != 3) throw std::runtime_error("a point is [x, y] or [x, y, label]");
                    prompt.points.push_back({p[0], p[1], p.size() == 3 ? p[2].get<int>() : 1});
                }
            } else if (name == "box") {
                if (value.size() != 4) throw std::runtime_error("a box is [x0, y0, x1, y1]");
                prompt.box = ev::Box{value[0], value[1], value[2], value[3]};
            } else if (name != "multimask") {
                throw std::runtime_error("a prompt has points, box and multimask, not '" + name + "'");
            }
        }
        // As with clicks: one point alone may mean several things.
        prompt.multimask_output = json.value("multimask", prompt.points.size() == 1 && !prompt.box);
        return prompt;
    } catch (const nlohmann::json::exception& error) {
        throw std::runtime_error(error.what());
    }
}

/// Prompts of each picture: {"street.jpg": [prompt, …], …}, by the pictures' names; one prompt may stand without
/// brackets. Throws std::runtime_error, which names the file and the picture.
inline std::map<std::string, std::vector<ev::SamPrompt>> read_prompts(const std::filesystem::path& path) {
    const nlohmann::json json = read_json(path);
    if (!json.is_object()) throw std::runtime_error(path.string() + R"(: expected {"picture.jpg": [prompt, …], …})");
    std::map<std::string, std::vector<ev::SamPrompt>> prompts;
    for (const auto& [name, value] : json.items()) {
        try {
            std::vector<ev::SamPrompt>& of_picture = prompts[name];
            if (value.is_object()) {
                of_picture.push_back(prompt_of(value));
            } else {
                for (const nlohmann::json& prompt : value) of_picture.push_back(prompt_of(prompt));
            }
        } catch (const std::runtime_error& error) {
            throw std::runtime_error(path.string() + ": " + name + ": " + error.what());
        }
    }
    return prompts;
}

}  // namespace examples
