// SPDX-License-Identifier: Apache-2.0
//
// What examples/embedded should print for an image and weights from files: expected WEIGHTS > lines. Writes the image
// to image.ppm. Also prints, first, the bytes that b0's weights take as float.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <cstddef>
#include <cstdio>
#include <vector>

namespace ev = efficientvit;

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    constexpr int height = 96, width = 64;
    ev::Tensor image(1, 3, height, width);
    std::vector<unsigned char> rgb;
    constexpr float means[] = {0.485F, 0.456F, 0.406F}, deviations[] = {0.229F, 0.224F, 0.225F};
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 0; c < 3; ++c) {
                rgb.push_back(static_cast<unsigned char>(y * 2 + x * (c + 1) + (x * y) % 17));
                image(0, c, y, x) = (static_cast<float>(rgb.back()) / 255.0F - means[c]) / deviations[c];
            }
        }
    }
    std::FILE* const ppm = std::fopen("image.ppm", "wb");
    if (ppm == nullptr) return 2;
    std::fprintf(ppm, "P6\n%d %d\n255\n", width, height);
    std::fwrite(rgb.data(), 1, rgb.size(), ppm);
    std::fclose(ppm);

    std::size_t bytes = 0;
    for (const ev::Parameter& parameter : ev::BackboneB0::parameters()) {
        std::size_t count = sizeof(float);
        for (const std::int64_t extent : parameter.shape) count *= static_cast<std::size_t>(extent);
        bytes += count;
    }
    std::printf("%zu\n", bytes);

    ev::BackboneB0 backbone;
    backbone.load_state_dict(ev::load_safetensors(argv[1]));
    const auto features = backbone.forward(image);
    const Eigen::Tensor<double, 4, Eigen::RowMajor> map = features.stage_final().cast<double>();
    for (Eigen::Index c = 0; c < map.dimension(1); ++c) {
        double sum = 0;
        for (Eigen::Index y = 0; y < map.dimension(2); ++y) {
            for (Eigen::Index x = 0; x < map.dimension(3); ++x) sum += map(0, c, y, x);
        }
        std::printf("%.9g\n", sum / static_cast<double>(map.dimension(2) * map.dimension(3)));
    }
}
