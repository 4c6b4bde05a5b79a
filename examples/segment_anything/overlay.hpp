// SPDX-License-Identifier: Apache-2.0
//
// Pictures of masks: colors over a picture with a line around each, and the prompts that were asked. Masks come as run
// lengths, of which one at a time is decoded: hundreds of them, one byte for each pixel of a photo, take gigabytes.
#pragma once

#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/models/sam_predictor.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "../common/drawing.hpp"

namespace examples {

/// The color of mask `i`: hues a golden angle apart.
inline ev::Rgb mask_color(std::size_t i) {
    const double hue = std::fmod(0.58 + 0.618034 * static_cast<double>(i), 1.0) * 6;
    const auto part = [&](double shift) {
        const double at = std::abs(std::fmod(hue + shift, 6.0) - 3) - 1;
        return static_cast<std::uint8_t>(40 + 215 * std::clamp(at, 0.0, 1.0));
    };
    return {part(0), part(4), part(2)};
}

/// Numbers of the masks by falling area, so that small ones come on top.
inline std::vector<std::size_t> largest_first(const std::vector<ev::MaskRle>& masks) {
    std::vector<std::int64_t> areas;
    for (const ev::MaskRle& mask : masks) areas.push_back(mask.area());
    std::vector<std::size_t> order(masks.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return areas[a] > areas[b]; });
    return order;
}

/// For each pixel the number of the smallest mask that has it, from 1 on; beyond 255 they begin again. 0: none.
inline std::vector<std::uint8_t> numbered(const std::vector<ev::MaskRle>& masks, ev::ImageSize size) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width));
    for (const std::size_t i : largest_first(masks)) {
        const ev::Mask mask = ev::decode_rle(masks[i]);
        for (std::size_t k = 0; k < out.size(); ++k) {
            if (mask.pixels[k] != 0) out[k] = static_cast<std::uint8_t>(i % 255 + 1);
        }
    }
    return out;
}

/// A filled disc.
inline void draw_disc(ev::Image& image, double x, double y, double radius, ev::Rgb color) {
    for (int v = static_cast<int>(y - radius); v <= static_cast<int>(y + radius); ++v) {
        const double half = std::sqrt(std::max(0.0, radius * radius - (v - y) * (v - y)));
        fill(image, static_cast<int>(std::lround(x - half)), v, static_cast<int>(std::lround(2 * half)) + 1, 1, color);
    }
}

/// The prompts: green discs for points of an object, red ones for what is around it, boxes as frames.
inline void draw_prompts(ev::Image& image, const std::vector<ev::SamPrompt>& prompts, double scale = 1) {
    const double dot = std::max(2.0, std::max(image.height(), image.width()) / 120.0);
    const int line = std::max(1, static_cast<int>(dot / 2.5));
    for (const ev::SamPrompt& prompt : prompts) {
        if (prompt.box) {
            const auto at = [&](double v) { return static_cast<int>(std::lround(v * scale)); };
            const int x0 = at(prompt.box->x0), y0 = at(prompt.box->y0), x1 = at(prompt.box->x1),
                      y1 = at(prompt.box->y1);
            fill(image, x0, y0, x1 - x0 + line, line, {255, 255, 255});
            fill(image, x0, y1, x1 - x0 + line, line, {255, 255, 255});
            fill(image, x0, y0, line, y1 - y0, {255, 255, 255});
            fill(image, x1, y0, line, y1 - y0, {255, 255, 255});
        }
        for (const ev::SamPoint& p : prompt.points) {
            if (p.label == -1) continue;
            draw_disc(image, p.x * scale, p.y * scale, dot * 1.35, {255, 255, 255});
            draw_disc(image, p.x * scale, p.y * scale, dot, p.label == 1 ? ev::Rgb{30, 170, 60} : ev::Rgb{210, 40, 40});
        }
    }
}

/// The picture with its masks' colors over it, and the prompts.
inline ev::Image overlay(const ev::Image& picture, const std::vector<ev::MaskRle>& masks,
                         const std::vector<ev::SamPrompt>& prompts) {
    ev::Image out = picture;
    for (const std::size_t i : largest_first(masks)) {
        const ev::Mask mask = ev::decode_rle(masks[i]);
        const ev::Rgb color = mask_color(i);
        for (int y = 0; y < mask.height; ++y) {
            for (int x = 0; x < mask.width; ++x) {
                if (mask.at(y, x) == 0) continue;
                const bool edge = x == 0 || y == 0 || x == mask.width - 1 || y == mask.height - 1 ||
                                  mask.at(y, x - 1) + mask.at(y, x + 1) + mask.at(y - 1, x) + mask.at(y + 1, x) < 4;
                const ev::Rgb seen = picture.at(y, x);
                const auto mix = [&](std::uint8_t a, std::uint8_t b) { return static_cast<std::uint8_t>((a + b) / 2); };
                out.set(
                    y, x,
                    edge ? color
                         : ev::Rgb{mix(seen.red, color.red), mix(seen.green, color.green), mix(seen.blue, color.blue)});
            }
        }
    }
    draw_prompts(out, prompts);
    return out;
}

}  // namespace examples
