// SPDX-License-Identifier: Apache-2.0
//
// A segmenter behind the C interface of efficientvit_c.cpp, and one function more: from a picture to its labels.
#include "efficientvit_c.cpp"

#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/images/segmentation.hpp>

#include <algorithm>

/// rgb: height x width x 3 bytes; labels: height x width bytes. What lies between stays for the thread's next call.
EVC_API int evc_segment(void* model, const unsigned char* rgb, int height, int width, unsigned char* labels) {
    static thread_local ev::Image image;
    static thread_local ev::Tensor input, logits;
    static thread_local ev::LabelMap map;
    return guarded([&] {
        Model& m = *static_cast<Model*>(model);
        if (image.size() != ev::ImageSize{height, width}) image = ev::Image({height, width});
        std::copy_n(rgb, image.bytes().size(), image.bytes().data());
        const ev::ImageSize frame = ev::preprocess_seg(image, {.dataset = ev::SegDataset::cityscapes}, input);
        m.network.forward(input, logits, m.context);
        ev::upsample_argmax(logits, frame, image.size(), map, m.context);
        std::copy(map.labels.begin(), map.labels.end(), labels);
    });
}
