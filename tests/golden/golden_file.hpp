// SPDX-License-Identifier: Apache-2.0
//
// Outputs that the reference computed in float64, stored with the names of the weights they were computed from.
#pragma once

#include "../support.hpp"

#include <efficientvit/weights/safetensors.hpp>

#include <nlohmann/json.hpp>

/// A file of tests/data/golden.
class GoldenFile {
public:
    explicit GoldenFile(const std::string& name)
        : name_(name),
          file_(ev::load_safetensors(std::filesystem::path(EFFICIENTVIT_TEST_DATA) / "golden" /
                                     (name + ".safetensors"))) {}

    bool has(const std::string& tensor) const { return file_.contains(tensor); }
    reference::Map map(const std::string& tensor) const {
        const ev::Entry& entry = file_.at(tensor);
        std::vector<std::int64_t> s = entry.shape;
        s.resize(4, 1);  // logits are [N, classes]
        reference::Map out{int(s[0]), int(s[1]), int(s[2]), int(s[3])};
        const std::vector<float> values = ev::to_float(entry);
        std::copy(values.begin(), values.end(), out.values.begin());
        return out;
    }
    ev::Shape input_shape() const {
        const auto s = json("input_shape").get<std::vector<std::ptrdiff_t>>();
        return {s.at(0), s.at(1), s.at(2), s.at(3)};
    }
    /// Names and shapes of the weights, in order.
    std::vector<ev::Parameter> keys() const {
        std::vector<ev::Parameter> out;
        const nlohmann::ordered_json keys = json("keys");
        for (const auto& [name, shape] : keys.items()) out.push_back({name, shape});
        return out;
    }

    /// Tells the error of a tensor, on the console and in the test's report.
    void report(const std::string& tensor, ev::Isa isa, double error) const {
        std::printf("[          ] %s %s, %s: %.2g of the largest value\n", name_.c_str(), tensor.c_str(),
                    std::string(ev::isa_name(isa)).c_str(), error);
        testing::Test::RecordProperty(name_ + "_" + tensor, std::to_string(error * 1e9) + "e-9");
    }

    /// A text of the file's metadata, as what it says.
    nlohmann::ordered_json json(const std::string& key) const {
        return nlohmann::ordered_json::parse(file_.metadata().at(key));
    }

private:
    std::string name_;
    ev::StateDict file_;
};
