// SPDX-License-Identifier: Apache-2.0
//
// Memory that is there already: pointers, spans, vectors, Eigen's matrices. forward reads and writes any NCHW floats
// without gaps where they lie, so nothing here is copied on its way in or out. What has another layout has to be turned
// by somebody once; that is said where it is so.
#include <efficientvit/efficientvit.hpp>

#include <Eigen/Core>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <vector>

#include "check.hpp"

namespace ev = efficientvit;
using neighbours::check;

// One channel in (thermal, depth, an X-ray), so that a plain matrix is an image.
using Gray = ev::EfficientViTBackbone<ev::BackboneConfig{
    .width_list = {8, 16, 32}, .depth_list = {1, 1, 1}, .in_channels = 1, .dim = 16}>;

/// A row-major matrix is an image of one channel.
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

ev::ConstTensorView as_image(const Matrix& matrix) { return {matrix.data(), {1, 1, matrix.rows(), matrix.cols()}}; }

/// A span is a pointer that knows its length: the one thing a view cannot check by itself.
ev::ConstTensorView as_images(std::span<const float> values, ev::Shape shape) {
    if (values.size() != static_cast<std::size_t>(shape.n * shape.c * shape.h * shape.w)) {
        throw ev::ShapeError("as_images: another number of floats than the shape has");
    }
    return {values.data(), shape};
}

/// A map's channels as the rows of a matrix, C x (H W): its own memory, for dot products, PCA, clustering.
Eigen::Map<const Matrix> as_matrix(const ev::Tensor& features, Eigen::Index image = 0) {
    const Eigen::Index c = features.dimension(1), hw = features.dimension(2) * features.dimension(3);
    return {features.data() + image * c * hw, c, hw};
}

/// One channel of it as an H x W matrix.
Eigen::Map<const Matrix> as_matrix(const ev::Tensor& features, Eigen::Index image, Eigen::Index channel) {
    const Eigen::Index c = features.dimension(1), h = features.dimension(2), w = features.dimension(3);
    return {features.data() + (image * c + channel) * h * w, h, w};
}

int main() {
    Gray network;
    network.load_state_dict(neighbours::some_weights<Gray>());
    ev::Context context;

    // In: an Eigen matrix, a vector, a raw pointer.
    const Matrix frame = Matrix::Random(48, 64);
    const ev::Tensor from_matrix = network.forward_final(as_image(frame));

    const std::vector<float> buffer(frame.data(), frame.data() + frame.size());
    const ev::Tensor from_span = network.forward_final(as_images(buffer, {1, 1, 48, 64}));
    const ev::Tensor from_pointer = network.forward_final(ev::ConstTensorView{buffer.data(), {1, 1, 48, 64}});
    check(as_matrix(from_matrix) == as_matrix(from_span), "a span gives what the matrix gives");
    check(as_matrix(from_matrix) == as_matrix(from_pointer), "a pointer gives what the matrix gives");

    // Eigen's own default is column-major: the same memory is the transposed image. Either feed the transpose, or let
    // Eigen turn it once, as here.
    const Eigen::MatrixXf columns = frame;
    const Matrix turned = columns;
    check(as_matrix(network.forward_final(as_image(turned))) == as_matrix(from_matrix), "a turned matrix is the same");

    // A frame with gaps between its rows (a block of a larger matrix) is none of these either: one copy.
    const Matrix middle = frame.block(8, 16, 32, 32);
    check(network.forward_final(as_image(middle)).dimension(2) == 4, "32 rows at stride 8 are 4");

    // Out: into memory of one's own, here a row of a larger table of descriptors.
    const ev::Shape shape = Gray::output_shape({1, 1, 48, 64});
    Matrix table = Matrix::Zero(2, shape.c * shape.h * shape.w);
    network.forward_final(as_image(frame), ev::TensorView{table.row(1).data(), shape}, context);
    check(Eigen::Map<const Matrix>(table.row(1).data(), shape.c, shape.h * shape.w) == as_matrix(from_matrix),
          "a view of one's own memory is written to");
    check(table.row(0).isZero(0), "and nothing beside it");

    // Out: features as matrices, without a copy.
    const Eigen::Map<const Matrix> channels = as_matrix(from_matrix);
    const Eigen::VectorXf mean = channels.rowwise().mean();            // what global average pooling gives
    const Matrix similarity = channels.transpose() * channels.col(0);  // of every place to the upper left one
    check(mean.size() == 32 && similarity.rows() == shape.h * shape.w, "channels are rows, places are columns");
    check(as_matrix(from_matrix, 0, 3)(1, 2) == from_matrix(0, 3, 1, 2), "a channel is a matrix of rows and columns");

    // A view whose length is wrong is refused, rather than read beyond its end.
    try {
        as_images(std::span(buffer).first(100), {1, 1, 48, 64});
        check(false, "100 floats are no 48 x 64 image");
    } catch (const ev::ShapeError&) {
    }
    std::printf("%td channels of %td x %td\n", shape.c, shape.h, shape.w);
}
