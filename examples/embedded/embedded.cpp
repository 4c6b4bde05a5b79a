// SPDX-License-Identifier: Apache-2.0
//
// A program that needs nothing beside it: no library, no weights, no configuration. A PPM (P6) on standard input, the
// features of b0 on standard output, one a line: the mean over each channel of the last stage.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <cctype>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <span>
#include <vector>

namespace ev = efficientvit;

// weights.S
extern "C" const std::byte efficientvit_weights[], efficientvit_weights_end[];

namespace {

/// The next number of a PPM's head, behind white space and comments; -1 if there is none.
int read_number(std::FILE* in) {
    int c = std::fgetc(in);
    while (c == '#' || std::isspace(c)) {
        if (c == '#') {
            while (c != '\n' && c != EOF) c = std::fgetc(in);
        }
        c = std::fgetc(in);
    }
    std::ungetc(c, in);
    int number = -1;
    return std::fscanf(in, "%d", &number) == 1 ? number : -1;
}

/// (1, 3, H, W), normalised as ImageNet's pictures are.
ev::Tensor read_ppm(std::FILE* in) {
    const bool is_p6 = std::fgetc(in) == 'P' && std::fgetc(in) == '6';
    const int width = read_number(in), height = read_number(in), levels = read_number(in);
    if (!is_p6 || levels != 255 || std::isspace(std::fgetc(in)) == 0 || width < 1 || height < 1 || width > 8192 ||
        height > 8192) {
        throw ev::Error("standard input: not a P6 of 255 levels and at most 8192 x 8192 pixels");
    }
    std::vector<unsigned char> rgb(std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    if (std::fread(rgb.data(), 1, rgb.size(), in) != rgb.size()) throw ev::Error("standard input: pixels are missing");
    constexpr float mean[] = {0.485F, 0.456F, 0.406F}, std[] = {0.229F, 0.224F, 0.225F};
    ev::Tensor image(1, 3, height, width);
    const unsigned char* next = rgb.data();
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 0; c < 3; ++c) image(0, c, y, x) = (static_cast<float>(*next++) / 255.0F - mean[c]) / std[c];
        }
    }
    return image;
}

}  // namespace

int main() try {
    ev::BackboneB0 backbone;
    backbone.load_state_dict(ev::parse_safetensors(std::span(efficientvit_weights, efficientvit_weights_end)));
    const ev::Tensor map = backbone.forward_final(read_ppm(stdin));
    const Eigen::Index pixels = map.dimension(2) * map.dimension(3);
    for (Eigen::Index c = 0; c < map.dimension(1); ++c) {
        double sum = 0;
        for (Eigen::Index i = 0; i < pixels; ++i) sum += double{map.data()[c * pixels + i]};
        std::printf("%.9g\n", sum / static_cast<double>(pixels));
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
