// SPDX-License-Identifier: Apache-2.0
//
// Any published network behind a pointer, for units that should compile at once: declarations over pointers and shapes,
// without Eigen, without a network. <efficientvit/compiled/models.cpp>, compiled once in the program, has what is
// behind it; with CMake, link efficientvit::compiled. Who includes Eigen anyway takes make_model.hpp's AnyModel
// instead, which this is made of.
//
//     ev::ModelHandle model("cls_b1", "b1.safetensors");
//     std::vector<float> image(3 * 224 * 224), logits(1000);
//     model.forward({image.data(), {1, 3, 224, 224}}, {logits.data(), {1, 1000, 1, 1}});
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/view.hpp>

#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// How a ModelHandle computes.
struct ModelHandleOptions {
    /// As efficientvit::Precision has it (kernels/precision.hpp).
    enum class Precision {
        f32,           ///< float throughout
        bf16_weights,  ///< weights rounded to bfloat16
        bf16,          ///< and what they are multiplied by
        int8,          ///< 8-bit integers
        f16            ///< IEEE halves, for Arm with FP16
    };

    int threads = 1;  ///< that work on one forward, the calling one included; 0: as many as there are CPUs for
    Precision precision = Precision::f32;  ///< of products
    /// Of a PyTorch checkpoint, as in TorchCheckpointOptions; what is beside the weights is passed over.
    std::string entry{};
};

/// A published network with its weights, its scratch memory and its threads. One thread at a time may call forward on a
/// handle; threads of their own get handles of their own from share().
class ModelHandle {
public:
    /// The network that make_model(name) gives, with weights from `path`: safetensors, their index, or a
    /// PyTorch checkpoint, which the first bytes tell. Without a name, the network that the weights look like. Throws
    /// ConfigError for a name that there is not, WeightsError for a file that cannot be read or has another network's
    /// weights.
    ModelHandle(std::string_view name, const std::string& path, const ModelHandleOptions& options = {});
    /// Takes the other's network. What has been moved from can only be assigned to or destroyed.
    ModelHandle(ModelHandle&& other) noexcept;
    /// The same.
    ModelHandle& operator=(ModelHandle&& other) noexcept;
    ~ModelHandle();

    /// The same weights, with scratch memory and threads of its own.
    ModelHandle share(int threads = 1) const;

    /// As in model_names(): "cls_b1".
    const std::string& name() const;

    /// The shape of one picture as the network was trained: (1, C, H, W).
    Shape usual_input() const;

    /// How many classes the weights have: 0 for backbones, SAM's encoders, and classifiers without their last layer
    /// (timm's num_classes=0).
    int n_classes() const;
    /// Of a classifier: the short side of a picture is resized to H / crop_ratio, H usual_input()'s, rounded up
    /// as the reference does, or down as timm does.
    double crop_ratio() const;

    /// How many outputs there are: as many as stages for a backbone, else one. They are numbered from 0.
    int outputs() const;
    /// "stage0" …, "logits", without classes "pre_logits", "segout" or "image_embeddings".
    const char* output_name(int output) const;
    /// The shape of an output for an input of this shape. Throws ShapeError where that does not fit, Error where there
    /// is no such output.
    Shape output_shape(int output, const Shape& input) const;

    /// Computes the last output of x, (N, C, H, W): a backbone's last stage, all there is of other networks. It is
    /// written where `y` lies. After the first call of a size nothing is allocated. Throws ShapeError.
    void forward(const ConstTensorView& x, const TensorView& y);

    /// Computes all outputs: y[i], for i in [0, outputs()), has the shape of output i; those that point nowhere are
    /// left out. Throws ShapeError.
    void forward_all(const ConstTensorView& x, const TensorView* y);

    /// Computes the stage of a backbone that is called so ("stage2", "stage_final") and no later one. `y` has the shape
    /// of output_shape(). Throws Error where there is no such stage, ShapeError.
    void forward_stage(std::string_view stage, const ConstTensorView& x, const TensorView& y);

    /// The shape of forward_pre_logits' result, (N, features, 1, 1). Throws Error for what is no classifier,
    /// ShapeError.
    Shape pre_logits_shape(const Shape& input) const;
    /// Computes the input of a classifier's last layer: a picture's embedding. Throws as pre_logits_shape() does.
    void forward_pre_logits(const ConstTensorView& x, const TensorView& y);

private:
    struct State;
    explicit ModelHandle(State* state);

    State* state_;  // no unique_ptr: <memory> costs those who include this more than all else here
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
