// SPDX-License-Identifier: Apache-2.0
//
// The first three principal components of a feature map, as a picture.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/tensor.hpp>

#include <Eigen/Eigenvalues>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace examples {

namespace ev = efficientvit;

struct Components {
    ev::Image image;       // of the map's size: the first component is red, the second green, the third blue
    double explained = 0;  // the part of the features' variance that lies in these three
};

/// Of a map (1, C, H, W). Each component is stretched so that all but the outer hundredths fill 0 to 255; its sign is
/// such that its largest weight is positive. Where there are fewer than three, the rest is gray.
inline Components principal_components(const ev::Tensor& map) {
    using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const Eigen::Index channels = map.dimension(1), pixels = map.dimension(2) * map.dimension(3);
    using Planes = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Matrix x = Eigen::Map<const Planes>(map.data(), channels, pixels).cast<double>();
    x.colwise() -= x.rowwise().mean().eval();
    const Matrix covariance = x * x.transpose() / static_cast<double>(pixels);
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(covariance);  // in rising order

    const ev::ImageSize size{static_cast<int>(map.dimension(2)), static_cast<int>(map.dimension(3))};
    Components out{ev::Image(size, {128, 128, 128}), 0};
    const double all = std::max(solver.eigenvalues().sum(), 1e-300);
    for (Eigen::Index k = 0; k < std::min<Eigen::Index>(3, channels); ++k) {
        const Eigen::Index at = channels - 1 - k;
        if (!(solver.eigenvalues()(at) > 1e-9 * all)) break;  // nothing differs any more
        out.explained += solver.eigenvalues()(at) / all;
        Eigen::VectorXd direction = solver.eigenvectors().col(at);
        Eigen::Index largest = 0;
        direction.cwiseAbs().maxCoeff(&largest);
        if (direction(largest) < 0) direction = -direction;
        const Eigen::VectorXd values = x.transpose() * direction;

        std::vector<double> sorted(values.data(), values.data() + pixels);
        std::sort(sorted.begin(), sorted.end());
        const auto hundredth = static_cast<std::size_t>(pixels / 100);
        const double low = sorted[hundredth], high = sorted[sorted.size() - 1 - hundredth];
        for (Eigen::Index i = 0; i < pixels; ++i) {
            const double part = high > low ? std::clamp((values(i) - low) / (high - low), 0.0, 1.0) : 0.5;
            out.image.bytes()[static_cast<std::size_t>(3 * i + k)] = static_cast<std::uint8_t>(std::lround(255 * part));
        }
    }
    return out;
}

}  // namespace examples
