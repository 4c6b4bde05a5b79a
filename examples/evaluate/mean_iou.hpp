// SPDX-License-Identifier: Apache-2.0
//
// Mean intersection over union of label maps, as the reference's evaluation has it, and the numbers that data sets keep
// their labels in.
#pragma once

#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/segmentation.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/text.hpp"

namespace examples {

/// How a label map's numbers become classes.
enum class LabelConvention {
    cityscapes,  ///< labelIds, 0 to 33: those of the 19 classes become their train ids, all others are ignored
    ade20k,      ///< 0 is none and ignored, 1 to 150 are the classes 0 to 149
    plain        ///< as it stands, as Cityscapes' labelTrainIds; 255 is ignored
};

inline constexpr std::uint8_t ignored_label = 255;

/// What each number of a label map means: a class, ignored_label, or nothing that is allowed.
inline std::array<std::optional<std::uint8_t>, 256> label_table(LabelConvention convention, int classes) {
    std::array<std::optional<std::uint8_t>, 256> table{};
    switch (convention) {
        case LabelConvention::cityscapes: {
            for (std::size_t i = 0; i <= 33; ++i) table[i] = ignored_label;
            table[255] = ignored_label;  // licence plates, -1
            std::uint8_t train_id = 0;
            constexpr std::uint8_t ids[] = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33};
            for (const std::uint8_t id : ids) table[id] = train_id++;
            break;
        }
        case LabelConvention::ade20k:
            table[0] = ignored_label;
            for (int i = 1; i <= classes && i < 256; ++i) {
                table[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i - 1);
            }
            break;
        case LabelConvention::plain:
            for (int i = 0; i < classes && i < 255; ++i) {
                table[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
            }
            table[255] = ignored_label;
            break;
    }
    return table;
}

/// A label map out of a gray PNG, as classes. Throws std::runtime_error, which names the file: for colors, and for a
/// number that the convention does not have.
inline ev::LabelMap read_labels(const std::filesystem::path& path, LabelConvention convention, int classes) {
    const ev::Image image = ev::read_image(path);
    const auto table = label_table(convention, classes);
    ev::LabelMap map{image.size(), {}};
    map.labels.reserve(image.bytes().size() / 3);
    for (int y = 0; y < image.height(); ++y) {
        for (int x = 0; x < image.width(); ++x) {
            const ev::Rgb pixel = image.at(y, x);
            const auto at = [&] { return " at row " + std::to_string(y) + ", column " + std::to_string(x); };
            if (pixel.red != pixel.green || pixel.red != pixel.blue) {
                throw std::runtime_error(shown(path) + ": expected a gray picture of class numbers, found a color" +
                                         at());
            }
            const std::optional<std::uint8_t> label = table[pixel.red];
            if (!label) {
                throw std::runtime_error(shown(path) + ": expected labels of " + std::to_string(classes) +
                                         " classes, found " + std::to_string(pixel.red) + at());
            }
            map.labels.push_back(*label);
        }
    }
    return map;
}

/// Intersections and unions of each class over all pictures.
class MeanIou {
public:
    explicit MeanIou(int classes)
        : found_(static_cast<std::size_t>(classes)), labelled_(found_.size()), both_(found_.size()) {}

    /// A picture's classes as they were found and as they are; where those are ignored_label nothing counts. Throws
    /// std::runtime_error unless there are as many of both, all of classes.
    void add(std::span<const std::uint8_t> found, std::span<const std::uint8_t> labels) {
        if (found.size() != labels.size()) {
            throw std::runtime_error("expected a label for each of " + std::to_string(found.size()) +
                                     " pixels, found " + std::to_string(labels.size()));
        }
        for (std::size_t i = 0; i < labels.size(); ++i) {
            if (labels[i] == ignored_label) continue;
            ++labelled_.at(labels[i]);
            ++found_.at(found[i]);
            if (labels[i] == found[i]) ++both_[labels[i]];
        }
    }

    std::size_t classes() const { return found_.size(); }

    /// Of a class, 0 to 1; none where no pixel is of it or was taken for it.
    std::optional<double> iou(std::size_t of) const {
        const std::uint64_t either = found_[of] + labelled_[of] - both_[of];
        if (either == 0) return std::nullopt;
        return static_cast<double>(both_[of]) / static_cast<double>(either);
    }

    /// Classes that have one.
    std::size_t counted() const {
        std::size_t count = 0;
        for (std::size_t i = 0; i < classes(); ++i) count += iou(i) ? 1U : 0U;
        return count;
    }

    /// The mean over the classes that have one, in percent. Throws std::runtime_error where none has.
    double percent() const {
        double sum = 0, lost = 0;  // Neumaier's sum: the same in any order, to the last digit
        for (std::size_t i = 0; i < classes(); ++i) {
            const double next = iou(i).value_or(0), total = sum + next;
            lost += sum >= next ? (sum - total) + next : (next - total) + sum;
            sum = total;
        }
        if (counted() == 0) throw std::runtime_error("no pixel has a label");
        return (sum + lost) / static_cast<double>(counted()) * 100;
    }

    /// The share of the labelled pixels that are right, in percent.
    double pixel_accuracy() const {
        std::uint64_t right = 0, all = 0;
        for (std::size_t i = 0; i < classes(); ++i) right += both_[i], all += labelled_[i];
        return all == 0 ? 0 : 100 * static_cast<double>(right) / static_cast<double>(all);
    }

private:
    std::vector<std::uint64_t> found_, labelled_, both_;
};

}  // namespace examples
