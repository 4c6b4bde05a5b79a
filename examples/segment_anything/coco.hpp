// SPDX-License-Identifier: Apache-2.0
//
// Masks as COCO's JSON, and prompts from JSON.
#pragma once

#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/models/mask_generator.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/text.hpp"

namespace examples {

namespace ev = efficientvit;

/// A file's JSON. Throws std::runtime_error, which names it.
inline nlohmann::json read_json(const std::filesystem::path& path) {
    const std::string text = file_text(path);
    try {
        return nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception& error) {
        throw std::runtime_error(shown(path) + ": " + error.what());
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

/// JSON as a message shows it: on one line, in ASCII, and not all of a long one.
inline std::string told(const nlohmann::json& json) {
    constexpr std::size_t longest = 60;
    const std::string text = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

/// The numbers of an array of `least` to `most` of them. Throws std::runtime_error, which says what was `expected`.
inline std::vector<double> json_numbers(const nlohmann::json& array, std::size_t least, std::size_t most,
                                        const std::string& expected) {
    const auto is_number = [](const nlohmann::json& value) { return value.is_number(); };
    if (!array.is_array() || array.size() < least || array.size() > most ||
        !std::all_of(array.begin(), array.end(), is_number)) {
        throw std::runtime_error(expected + ", not " + told(array));
    }
    return array.get<std::vector<double>>();
}

/// A point of [x, y] or [x, y, label]. Throws std::runtime_error.
inline ev::SamPoint point_of(const nlohmann::json& json) {
    const std::vector<double> p = json_numbers(json, 2, 3, "a point is [x, y] or [x, y, label]");
    if (p.size() == 2) return {p[0], p[1], 1};
    if (p[2] != 1 && p[2] != 0 && p[2] != -1) throw std::runtime_error("a label is 1, 0 or -1, not " + told(json[2]));
    return {p[0], p[1], static_cast<int>(p[2])};
}

/// A prompt of {"points": [[x, y, label], …], "box": [x0, y0, x1, y1], "multimask": true}; label 1 may be left out.
/// Throws std::runtime_error.
inline ev::SamPrompt prompt_of(const nlohmann::json& json) {
    if (!json.is_object()) throw std::runtime_error(R"(a prompt is {"points": …} or {"box": …}, not )" + told(json));
    ev::SamPrompt prompt;
    bool multimask_said = false;
    for (const auto& [name, value] : json.items()) {
        if (name == "points") {
            if (!value.is_array()) throw std::runtime_error("points are [[x, y, label], …], not " + told(value));
            for (const nlohmann::json& point : value) prompt.points.push_back(point_of(point));
        } else if (name == "box") {
            const std::vector<double> b = json_numbers(value, 4, 4, "a box is [x0, y0, x1, y1]");
            prompt.box = ev::Box{b[0], b[1], b[2], b[3]};
        } else if (name == "multimask") {
            if (!value.is_boolean()) throw std::runtime_error("multimask is true or false, not " + told(value));
            multimask_said = true;
            prompt.multimask_output = value.get<bool>();
        } else {
            throw std::runtime_error("a prompt has points, box and multimask, not " + told(name));
        }
    }
    if (prompt.points.empty() && !prompt.box)
        throw std::runtime_error("a prompt has points or a box, not " + told(json));
    // As with clicks: one point alone may mean several things.
    if (!multimask_said) prompt.multimask_output = prompt.points.size() == 1 && !prompt.box;
    return prompt;
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
            if (value.is_array()) {
                for (const nlohmann::json& prompt : value) of_picture.push_back(prompt_of(prompt));
            } else {
                of_picture.push_back(prompt_of(value));
            }
        } catch (const std::runtime_error& error) {
            throw std::runtime_error(path.string() + ": " + told(name) + ": " + error.what());
        }
    }
    return prompts;
}

}  // namespace examples
