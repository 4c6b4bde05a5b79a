// SPDX-License-Identifier: Apache-2.0
//
// What users put in and take out: tensors of float, NCHW, and how they become views. Not the layout that layers use
// among themselves, which is runtime/feature_map.hpp.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/view.hpp>

#include <unsupported/Eigen/CXX11/Tensor>

#include <array>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// An NCHW tensor that owns its memory: `Tensor image(1, 3, 224, 224); image(0, 0, y, x) = …;`.
using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

namespace detail {
template <class Derived>
Shape shape_of(const Derived& tensor) {
    return {tensor.dimension(0), tensor.dimension(1), tensor.dimension(2), tensor.dimension(3)};
}

EFFICIENTVIT_COLD inline std::string to_string(const Shape& s) {
    return concat({"(", std::to_string(s.n), ", ", std::to_string(s.c), ", ", std::to_string(s.h), ", ",
                   std::to_string(s.w), ")"});
}

/// Resizes only where the shape differs, so that a loop over one size allocates once. Where memory does not suffice
/// (std::bad_alloc, also for more than Eigen's indices count) the tensor is empty: Eigen, which frees the old memory
/// before it takes the new, would free it once more.
inline void resize(Tensor& tensor, const Shape& shape) {
    if (shape_of(tensor) == shape) return;
    double floats = 1;
    for (const std::ptrdiff_t extent : {shape.n, shape.c, shape.h, shape.w}) floats *= static_cast<double>(extent);
    const bool countable = floats <= static_cast<double>(PTRDIFF_MAX / sizeof(float));
    if (!countable || tensor.size() != shape.n * shape.c * shape.h * shape.w) tensor.resize(0, 0, 0, 0);
    if (!countable) throw std::bad_alloc();
    tensor.resize(shape.n, shape.c, shape.h, shape.w);
}
}  // namespace detail

/// Views of Eigen's tensors and maps; views pass through. A view does not keep its tensor alive.
template <int Options, class Index>
ConstTensorView view(const Eigen::Tensor<float, 4, Options, Index>& tensor) {
    static_assert(Options & Eigen::RowMajor, "efficientvit reads NCHW: the tensor must be Eigen::RowMajor");
    return {tensor.data(), detail::shape_of(tensor)};
}
/// Likewise.
template <int Options, class Index>
TensorView view(Eigen::Tensor<float, 4, Options, Index>& tensor) {
    static_assert(Options & Eigen::RowMajor, "efficientvit writes NCHW: the tensor must be Eigen::RowMajor");
    return {tensor.data(), detail::shape_of(tensor)};
}
/// Likewise.
template <int Options, class Index, int MapOptions>
ConstTensorView view(const Eigen::TensorMap<const Eigen::Tensor<float, 4, Options, Index>, MapOptions>& map) {
    static_assert(Options & Eigen::RowMajor, "efficientvit reads NCHW: the map must be of an Eigen::RowMajor tensor");
    return {map.data(), detail::shape_of(map)};
}
/// Likewise.
template <int Options, class Index, int MapOptions>
TensorView view(const Eigen::TensorMap<Eigen::Tensor<float, 4, Options, Index>, MapOptions>& map) {
    static_assert(Options & Eigen::RowMajor, "efficientvit reads NCHW: the map must be of an Eigen::RowMajor tensor");
    return {const_cast<float*>(map.data()), detail::shape_of(map)};
}
/// Likewise.
inline ConstTensorView view(const ConstTensorView& v) { return v; }
/// Likewise.
inline TensorView view(const TensorView& v) { return v; }

namespace detail {
/// Beyond what products of extents, and chunks of work, are counted in: more than 65536 images, 2^28 pixels an image.
/// Extents are positive.
constexpr bool is_too_large(const Shape& s) {
    constexpr std::int64_t images = 1 << 16, pixels = 1 << 28, extent = INT_MAX / 64;
    return s.n > images || s.c > extent || s.h > extent || s.w > pixels / s.h || s.h > pixels / s.n ||
           s.c > (std::int64_t{1} << 56) / (std::int64_t{s.n} * s.h * s.w);
}

/// Throws ShapeError unless the view has something in it and is not too large.
inline void check_input(const ConstTensorView& x, std::ptrdiff_t channels, const char* where) {
    const Shape& s = x.shape;
    const auto fail = [&](std::initializer_list<std::string_view> what) {
        throw ShapeError(concat({where, ": the input ", to_string(s), concat(what), " (shape is N, C, H, W)"}));
    };
    if (channels != 0 && s.c != channels) {
        fail({" has ", std::to_string(s.c), " channels, expected ", std::to_string(channels)});
    }
    for (const std::ptrdiff_t extent : {s.n, s.c, s.h, s.w}) {
        if (extent < 1) fail({" is empty"});
    }
    if (is_too_large(s)) fail({" is too large"});
    if (x.data == nullptr) fail({" points nowhere"});
}

inline void check_output(const TensorView& y, const Shape& expected, const char* where) {
    if (y.shape == expected && y.data != nullptr) return;
    throw ShapeError(concat({where, ": the output view is ", to_string(y.shape),
                             y.data == nullptr ? " and points nowhere" : "", ", expected ", to_string(expected)}));
}

/// Where an output of this shape goes: a tensor, which is resized where its shape differs, or a view, whose shape must
/// fit. Throws ShapeError.
inline TensorView output_view(Tensor& y, const Shape& shape, const char* /*where*/) {
    resize(y, shape);
    return view(y);
}
template <class Y>
TensorView output_view(Y& y, const Shape& shape, const char* where) {
    const TensorView out = view(y);
    check_output(out, shape, where);
    return out;
}
}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
