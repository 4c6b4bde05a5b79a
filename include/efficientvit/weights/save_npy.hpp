// SPDX-License-Identifier: Apache-2.0
//
// Writes a tensor as a NumPy file, whole or not at all: `numpy.load(path)` gives a float32 array of shape (N, C, H, W).
// Several tensors, or names, are save_safetensors.hpp's. The format: NumPy's numpy.lib.format, version 1.0.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/tensor.hpp>
#include <efficientvit/weights/replacement_file.hpp>

#include <bit>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <span>
#include <string>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Writes a tensor of any shape, empty ones included. What is at `path` is treated as by save_safetensors(): replaced
/// only once the new file is whole, links followed, and anything but a file refused. Throws WeightsError if it cannot
/// be written, ShapeError for an extent below 0, for more elements than memory can hold, or a view that points nowhere.
EFFICIENTVIT_COLD inline void save_npy(const std::filesystem::path& path, const ConstTensorView& tensor) {
    static_assert(std::endian::native == std::endian::little, "efficientvit: the file is said to be little-endian");
    const Shape& s = tensor.shape;
    constexpr std::size_t most = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / sizeof(float);
    std::size_t count = s.n == 0 || s.c == 0 || s.h == 0 || s.w == 0 ? 0 : 1;
    for (const std::ptrdiff_t extent : {s.n, s.c, s.h, s.w}) {
        if (extent < 0)
            throw ShapeError(detail::concat({"save_npy: the tensor ", detail::to_string(s), " has a negative extent"}));
        if (extent > 0 && count > most / static_cast<std::size_t>(extent)) {
            throw ShapeError(detail::concat(
                {"save_npy: the tensor ", detail::to_string(s), " has more elements than memory can hold"}));
        }
        count *= static_cast<std::size_t>(extent);
    }
    if (count > 0 && tensor.data == nullptr) throw ShapeError("save_npy: the tensor points nowhere");

    const std::string about =
        detail::concat({"{'descr': '<f4', 'fortran_order': False, 'shape': ", detail::to_string(s), ", }"});
    // Magic, version 1.0 and the length of what follows: text, padded so that the data begin at a multiple of 64.
    constexpr std::size_t before = 10;
    const std::size_t padding = 63 - (before + about.size()) % 64;
    const std::size_t length = about.size() + padding + 1;
    std::string header("\x93NUMPY\x01\x00", 8);
    header += static_cast<char>(length & 0xff);
    header += static_cast<char>(length >> 8);
    header += detail::concat({about, std::string(padding, ' '), "\n"});

    detail::ReplacementFile file(path);
    file.write(std::as_bytes(std::span(header)));
    file.write(std::as_bytes(std::span(tensor.data, count)));
    file.keep();
}

/// The same for an Eigen tensor or map, row-major.
template <class T>
void save_npy(const std::filesystem::path& path, const T& tensor) {
    const auto from = view(tensor);
    save_npy(path, ConstTensorView{from.data, from.shape});
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
