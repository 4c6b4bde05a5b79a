// SPDX-License-Identifier: Apache-2.0
//
// The stored cases of SAM prompts: what was asked, in the picture's pixels and in the frame of prompts, and what the
// reference answers in float64.
#pragma once

#include "golden_file.hpp"

#include <optional>
#include <string>
#include <vector>

/// Weights of a part of SAM, made from their names below `prefix`.
inline ev::StateDict sam_weights(const std::vector<ev::Parameter>& parameters, const std::string& prefix) {
    ev::StateDict out;
    for (const ev::Parameter& p : parameters) {
        out.insert(prefix + p.name, p.shape, golden_tensor(prefix + p.name, p.shape));
    }
    return out;
}

inline ev::Tensor golden_tensor_of(const std::string& name, const ev::Shape& s) {
    const std::vector<float> values = golden_tensor(name, {s.n, s.c, s.h, s.w});
    ev::Tensor out(s.n, s.c, s.h, s.w);
    std::copy(values.begin(), values.end(), out.data());
    return out;
}

inline ev::ConstTensorView const_view(const ev::Tensor& x) { return {x.data(), shape_of(x)}; }

/// max |found - expected| / max |expected|, where `expected` has every `step`-th row and column of `found`.
inline double largest_error(const ev::Tensor& found, const reference::Map& expected, int step) {
    const Eigen::array<Eigen::Index, 4> strides{1, 1, step, step};
    const ev::Tensor kept = found.stride(strides);
    if (expected.h * expected.w * expected.c * expected.n != kept.size()) return INFINITY;
    double error = 0, largest = 0;
    for (Eigen::Index i = 0; i < kept.size(); ++i) {
        const double wanted = expected.values[std::size_t(i)];
        const double difference = std::abs(double{kept.data()[i]} - wanted);
        if (!(difference <= error)) error = difference;  // NaN gets through
        largest = std::max(largest, std::abs(wanted));
    }
    return error / largest;
}

/// One of tests/data/golden/sam_prompt_*.
class SamCase {
public:
    explicit SamCase(const std::string& name)
        : file_("sam_prompt_" + name), case_(file_.json("case")), input_size_(file_.json("input_size")) {}

    const GoldenFile& file() const { return file_; }
    reference::Map map(const std::string& tensor) const { return file_.map(tensor); }
    int prompts() const { return int(case_.at(case_.contains("points") ? "points" : "boxes").size()); }
    int height() const { return case_.at("size").at(0); }
    int width() const { return case_.at("size").at(1); }
    bool multimask() const { return case_.at("multi"); }
    bool has_mask() const { return case_.value("mask", false); }
    /// `low_res` in the file has every so many-th row and column of 256.
    int low_res_step() const { return 256 / file_.map("low_res").h; }

    /// `full` in the file has every so many-th row and column of the picture.
    int full_step() const { return file_.map("full").h < height() / 16 ? 32 : 8; }

    std::vector<ev::SamPoint> points(int prompt) const {
        std::vector<ev::SamPoint> out;
        if (!case_.contains("points")) return out;
        const auto& points = case_.at("points").at(std::size_t(prompt));
        for (std::size_t i = 0; i < points.size(); ++i) {
            out.push_back({points[i][0], points[i][1], case_.at("labels").at(std::size_t(prompt))[i]});
        }
        return out;
    }
    std::optional<ev::Box> box(int prompt) const {
        if (!case_.contains("boxes")) return {};
        const auto& box = case_.at("boxes").at(std::size_t(prompt));
        return ev::Box{box[0], box[1], box[2], box[3]};
    }
    /// The same in the frame of prompts.
    std::vector<ev::SamPoint> frame_points(int prompt) const {
        std::vector<ev::SamPoint> out = points(prompt);
        for (ev::SamPoint& p : out) p.x *= x_scale(), p.y *= y_scale();
        return out;
    }
    std::optional<ev::Box> frame_box(int prompt) const {
        std::optional<ev::Box> out = box(prompt);
        if (out) out = {out->x0 * x_scale(), out->y0 * y_scale(), out->x1 * x_scale(), out->y1 * y_scale()};
        return out;
    }

private:
    double y_scale() const { return input_size_.at(0).get<double>() / height(); }
    double x_scale() const { return input_size_.at(1).get<double>() / width(); }

    GoldenFile file_;
    nlohmann::ordered_json case_, input_size_;
};
