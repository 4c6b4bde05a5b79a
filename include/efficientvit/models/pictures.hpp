// SPDX-License-Identifier: Apache-2.0
//
// From a picture to the input of a network that is known by its ModelInfo alone, and from a segmenter's logits to
// labels: what images/preprocess.hpp has for each task, chosen at run time. Optional, not part of efficientvit.hpp.
#pragma once

#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/images/segmentation.hpp>
#include <efficientvit/models/any_model.hpp>

#include <cstddef>
#include <string>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// How much of a picture a network sees.
enum class PictureFit {
    /// As the published accuracy was measured: for classifiers and backbones resized and cut from the middle, for
    /// segmenters as the data set's evaluation resizes, for image encoders fitted into their square.
    published,
    /// The whole picture at its own size, for segmenters padded to what they take. Not for image encoders.
    whole
};

/// How a picture becomes an input.
struct PictureOptions {
    PictureFit fit = PictureFit::published;  ///< how much of it
    int side = 0;           ///< rows and columns that a classifier or backbone sees; 0: what info() says
    double crop_ratio = 0;  ///< the input's share of the resized picture's side; 0: what info() says
};

/// The data set that a segmenter was trained on, by its name.
inline SegDataset dataset_of(const ModelInfo& info) {
    return info.name.ends_with("ade20k") ? SegDataset::ade20k : SegDataset::cityscapes;
}

namespace detail {

inline Normalization normalization_of(const ModelInfo& info) {
    Normalization out;
    for (std::size_t c = 0; c < 3; ++c) {
        out.mean[c] = info.mean[c];
        out.std[c] = info.std[c];
    }
    return out;
}

inline ClsPreprocessing cut_of(const ModelInfo& info, const PictureOptions& options) {
    return {.size = options.side == 0 ? info.height : options.side,
            .crop_ratio = options.crop_ratio == 0 ? info.crop_ratio : options.crop_ratio,
            .round_up = info.round_up,
            .normalization = normalization_of(info)};
}

inline SegPreprocessing seg_preprocessing_of(const ModelInfo& info, const PictureOptions& options) {
    return {.dataset = dataset_of(info),
            .fit = options.fit == PictureFit::whole ? SegFit::pad : SegFit::resize,
            .normalization = normalization_of(info)};
}

inline void check_pictures(const ModelInfo& info, const PictureOptions& options) {
    if (info.in_channels != 3) {
        throw ConfigError(
            concat({info.name, " sees ", std::to_string(info.in_channels), " channels, pictures have 3"}));
    }
    if (info.task == Task::image_encoder && options.fit == PictureFit::whole) {
        throw ConfigError(concat({info.name, ": an image encoder sees pictures in a square, never at their own size"}));
    }
}

}  // namespace detail

/// The shape of the input that a picture of this size becomes. Throws ImageError, ConfigError.
inline Shape picture_shape(const ModelInfo& info, ImageSize image, const PictureOptions& options = {}) {
    detail::check_pictures(info, options);
    detail::check_size(image, "picture_shape");
    ImageSize size = image;
    if (info.task == Task::segmentation) {
        size = seg_input_size(image, detail::seg_preprocessing_of(info, options));
    } else if (info.task == Task::image_encoder) {
        size = {info.height, info.height};
    } else if (options.fit == PictureFit::published) {
        const int side = detail::cut_of(info, options).size;
        size = {side, side};
    }
    detail::check_input_size(size, "picture_shape");
    return {1, 3, size.height, size.width};
}

/// Makes that input of a picture. Returns the size, in the picture's pixels, of what the input covers where that is the
/// whole picture, perhaps with padding: what upsample_argmax() wants for a segmenter. Throws ImageError, ConfigError.
inline ImageSize preprocess_picture(const ModelInfo& info, const Image& image, const PictureOptions& options,
                                    Tensor& input) {
    detail::check_pictures(info, options);
    if (info.task == Task::segmentation) {
        return preprocess_seg(image, detail::seg_preprocessing_of(info, options), input);
    }
    if (info.task == Task::image_encoder) {
        SamPreprocessing how;
        how.size = info.height;
        preprocess_sam(image, how, input);
    } else if (options.fit == PictureFit::whole) {
        preprocess_plain(image, detail::normalization_of(info), input);
    } else {
        preprocess_cls(image, detail::cut_of(info, options), input);
    }
    return image.size();
}

/// The class of each of a picture's pixels: preprocess_picture(), forward(), upsample_argmax(). `input` and `logits`
/// are scratch memory. Throws ConfigError where the network is no segmenter, ImageError, WeightsError.
inline void segment_picture(const AnyModel& model, const Image& image, const PictureOptions& options, Tensor& input,
                            Tensor& logits, LabelMap& labels, Context& context) {
    const ModelInfo& info = model.info();
    if (info.task != Task::segmentation) throw ConfigError(detail::concat({info.name, " is no segmenter"}));
    const ImageSize frame = preprocess_picture(info, image, options, input);
    detail::resize(logits, model.outputs(detail::shape_of(input)).back().shape);
    const auto x = view(input);
    model.forward_final({x.data, x.shape}, view(logits), context);
    upsample_argmax(logits, frame, image.size(), labels, context);
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
