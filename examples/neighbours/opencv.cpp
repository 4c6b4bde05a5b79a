// SPDX-License-Identifier: Apache-2.0
//
// OpenCV's pictures in, OpenCV's matrices out. A cv::Mat of floats is NCHW memory if it has one channel, or if it is a
// blob of four dimensions (cv::dnn::blobFromImage); those are read where they lie. Color pictures are interleaved
// bytes, so somebody has to turn them: here OpenCV itself writes the planes straight into the network's input.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/images/image.hpp>
#include <efficientvit/images/segmentation.hpp>

#include <cstdio>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

#include "check.hpp"

namespace ev = efficientvit;
using neighbours::check;

/// CV_32F: one channel of two dimensions, or a blob (N, C, H, W). Not a copy. Throws ev::ShapeError for another layout.
ev::ConstTensorView as_view(const cv::Mat& mat) {
    if (mat.type() != CV_32FC1 || !mat.isContinuous() || (mat.dims != 2 && mat.dims != 4)) {
        throw ev::ShapeError("as_view: a " + cv::typeToString(mat.type()) + (mat.isContinuous() ? "" : " with gaps") +
                             " of " + std::to_string(mat.dims) +
                             " dimensions; expected CV_32FC1 without gaps, of 2 or 4");
    }
    const auto* data = mat.ptr<float>();
    if (mat.dims == 2) return {data, {1, 1, mat.rows, mat.cols}};
    return {data, {mat.size[0], mat.size[1], mat.size[2], mat.size[3]}};
}

/// A tensor as a blob (N, C, H, W): a header on its memory, which the tensor must outlive.
cv::Mat as_blob(ev::Tensor& tensor) {
    const int sizes[] = {static_cast<int>(tensor.dimension(0)), static_cast<int>(tensor.dimension(1)),
                         static_cast<int>(tensor.dimension(2)), static_cast<int>(tensor.dimension(3))};
    return {4, sizes, CV_32F, tensor.data()};
}

/// One channel of a map as a matrix, for cv::resize, cv::applyColorMap, …: a header likewise.
cv::Mat as_mat(ev::Tensor& tensor, int image, int channel) {
    const auto h = static_cast<int>(tensor.dimension(2)), w = static_cast<int>(tensor.dimension(3));
    return {h, w, CV_32F, tensor.data() + (image * tensor.dimension(1) + channel) * h * w};
}

/// A segmenter's labels, and a picture of this library (RGB, where OpenCV's functions expect BGR): headers likewise.
cv::Mat as_mat(ev::LabelMap& labels) { return {labels.size.height, labels.size.width, CV_8U, labels.labels.data()}; }
cv::Mat as_mat(ev::Image& image) { return {image.height(), image.width(), CV_8UC3, image.bytes().data()}; }

/// A BGR picture as cv::imread or a camera gives it, to the input (1, 3, H, W) that the networks were trained on: RGB,
/// (value / 255 - mean) / std. cv::split writes into the tensor, so each pixel is written once.
void to_input(const cv::Mat& bgr, ev::Tensor& input) {
    CV_Assert(bgr.type() == CV_8UC3);
    cv::Mat normalized;
    bgr.convertTo(normalized, CV_32F, 1 / 255.0);
    cv::subtract(normalized, cv::Scalar(0.406, 0.456, 0.485), normalized);
    cv::divide(normalized, cv::Scalar(0.225, 0.224, 0.229), normalized);
    if (input.dimension(2) != bgr.rows || input.dimension(3) != bgr.cols) input.resize(1, 3, bgr.rows, bgr.cols);
    cv::Mat planes[] = {as_mat(input, 0, 2), as_mat(input, 0, 1), as_mat(input, 0, 0)};  // blue, green, red
    cv::split(normalized, planes);
    for (int i = 0; i < 3; ++i)
        check(planes[i].data == as_mat(input, 0, 2 - i).data, "split wrote where it was told to");
}

int main() {
    ev::BackboneB0 backbone;
    backbone.load_state_dict(neighbours::some_weights<ev::BackboneB0>());
    ev::Context context;

    cv::Mat frame(480, 640, CV_8UC3);
    cv::randu(frame, 0, 256);
    cv::resize(frame, frame, {224, 160}, 0, 0, cv::INTER_AREA);
    ev::Tensor input;
    to_input(frame, input);
    const cv::Vec3b pixel = frame.at<cv::Vec3b>(7, 9);
    check(std::abs(input(0, 0, 7, 9) - (static_cast<float>(pixel[2]) / 255 - 0.485f) / 0.229f) < 1e-5f, "red is first");

    ev::BackboneB0::Features features;
    backbone.forward(input, features, context);

    // A map's channel, enlarged by OpenCV, from where it lies.
    ev::Tensor& map = features.tensor(3);
    const cv::Mat channel = as_mat(map, 0, 5);
    check(channel.ptr<float>() == &map(0, 5, 0, 0), "a channel is a header on the map");
    cv::Mat enlarged;
    cv::resize(channel, enlarged, frame.size(), 0, 0, cv::INTER_CUBIC);
    check(enlarged.size() == frame.size(), "OpenCV took it");

    // A blob of four dimensions is read where it lies.
    const cv::Mat blob = as_blob(input);
    check(as_view(blob).data == input.data(), "a blob is not copied");
    ev::Tensor again = backbone.forward_final(as_view(blob));
    ev::Tensor final_stage = features.stage_final();
    check(cv::norm(as_blob(again).reshape(1, 1), as_blob(final_stage).reshape(1, 1), cv::NORM_INF) == 0,
          "and gives the same");

    // Labels and pictures are headers both ways.
    ev::LabelMap labels{{4, 6}, std::vector<std::uint8_t>(24, 7)};
    check(cv::countNonZero(as_mat(labels) == 7) == 24, "labels are a CV_8U matrix");
    ev::Image image({160, 224});
    cv::Mat rgb = as_mat(image);
    cv::cvtColor(frame, rgb, cv::COLOR_BGR2RGB);  // straight into the picture: then preprocess_cls, _seg, _sam
    check(image.at(7, 9) == ev::Rgb{pixel[2], pixel[1], pixel[0]}, "and a picture is a CV_8UC3 one");

    // A region of interest has gaps between its rows: refused, since to read it would need a copy.
    const cv::Mat gray(100, 100, CV_32F, cv::Scalar(0));
    try {
        as_view(gray(cv::Rect(10, 10, 32, 32)));
        check(false, "a region has gaps");
    } catch (const ev::ShapeError&) {
    }
    check(as_view(gray(cv::Rect(10, 10, 32, 32)).clone()).shape == ev::Shape{1, 1, 32, 32}, "its clone has none");
    std::printf("%d x %d picture to %td channels\n", frame.rows, frame.cols, again.dimension(1));
}
