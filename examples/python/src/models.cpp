// SPDX-License-Identifier: Apache-2.0
//
// Model: a network with its weights, for Python.
#include <efficientvit/models/pictures.hpp>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common.hpp"

namespace python {

namespace {

/// What one call uses.
struct Call {
    explicit Call(const ev::ContextOptions& options) : context(options) {}
    ev::Context context;
    ev::NamedTensors outputs{};
    ev::Tensor input{}, logits{};
    ev::LabelMap labels{};
};

class Model {
public:
    Model(const ev::StateDict& weights, std::string name, int threads, const ev::LoadOptions& options)
        : calls_([context = context_options(threads)] { return std::make_unique<Call>(context); }), threads_(threads) {
        const ReleasedGil released;
        if (name.empty()) name = ev::compiled::identified(weights, options.prefix);
        model_ = ev::compiled::make_model(name);
        model_->load_state_dict(weights, options);
        const ev::ModelInfo& info = model_->info();
        for (const auto& output : model_->outputs({1, info.in_channels, info.height, info.width})) {
            outputs_.push_back(output.name);
        }
    }

    const ev::AnyModel& model() const { return *model_; }
    const ev::ModelInfo& info() const { return model_->info(); }
    int threads() const { return threads_; }
    const std::vector<std::string>& outputs() const { return outputs_; }

    nb::object call(nb::handle x, nb::handle out) const {
        const Input<float> input = floats_of(x, 4, "x");
        const ev::ConstTensorView view = view_of(input);
        const ev::Shape shape = model_->outputs(view.shape).back().shape;
        if (out.is_none()) {
            const NewArray<float> y = new_output(shape);
            compute(view, {y.data, shape});
            return y.array;
        }
        compute(view, {data_of(out, dimensions(shape)), shape});
        return nb::borrow(out);
    }

    nb::dict features(nb::handle x, const std::optional<std::vector<std::string>>& names) const {
        const Input<float> input = floats_of(x, 4, "x");
        const ev::ConstTensorView view = view_of(input);
        const bool backbone = info().task == ev::Task::backbone;
        std::vector<std::string> wanted = names.value_or(outputs_);
        if (!names && backbone) wanted.emplace_back("stage_final");
        std::vector<std::size_t> indices;
        for (const std::string& name : wanted) {
            const auto found = std::find(outputs_.begin(), outputs_.end(), name);
            const bool last = backbone && name == "stage_final";
            if (found == outputs_.end() && !last) {
                throw ev::ConfigError(info().name + " has no output '" + name + "'");
            }
            indices.push_back(last ? outputs_.size() - 1 : static_cast<std::size_t>(found - outputs_.begin()));
        }
        const std::vector<ev::AnyModel::Output> expected = model_->outputs(view.shape);
        const Lease lease(calls_);
        if (wanted.size() == 1 && backbone) {  // and no stage behind it
            const ev::Shape shape = expected[indices[0]].shape;
            const NewArray<float> y = new_output(shape);
            {
                const ReleasedGil released;
                model_->forward_stage(wanted[0], view, ev::TensorView{y.data, shape}, lease->context);
            }
            nb::dict out;
            out[wanted[0].c_str()] = y.array;
            return out;
        }
        {
            const ReleasedGil released;
            model_->forward(view, lease->outputs, lease->context);
        }
        std::vector<nb::object> made(outputs_.size());
        nb::dict out;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            nb::object& array = made[indices[i]];
            if (!array.is_valid()) {
                const ev::Tensor& tensor = lease->outputs.items()[indices[i]].tensor;
                const NewArray<float> y = new_output(expected[indices[i]].shape);
                std::copy_n(tensor.data(), tensor.size(), y.data);
                array = y.array;
            }
            out[wanted[i].c_str()] = array;
        }
        return out;
    }

    nb::object pre_logits(nb::handle x) const {
        const Input<float> input = floats_of(x, 4, "x");
        const ev::ConstTensorView view = view_of(input);
        const ev::Shape shape = model_->pre_logits_shape(view.shape);
        const NewArray<float> y({shape.n, shape.c});
        const Lease lease(calls_);
        {
            const ReleasedGil released;
            model_->forward_pre_logits(view, ev::TensorView{y.data, shape}, lease->context);
        }
        return y.array;
    }

    nb::object preprocess(nb::handle picture, const ev::PictureOptions& options) const {
        const ev::Image image = image_of(picture);
        const ev::Shape shape = ev::picture_shape(info(), image.size(), options);
        const NewArray<float> x({shape.n, shape.c, shape.h, shape.w});
        const Lease lease(calls_);
        {
            const ReleasedGil released;
            ev::preprocess_picture(info(), image, options, lease->input);
            std::copy_n(lease->input.data(), lease->input.size(), x.data);
        }
        return x.array;
    }

    nb::object segment(nb::handle picture, const ev::PictureOptions& options) const {
        const ev::Image image = image_of(picture);
        const Lease lease(calls_);
        {
            const ReleasedGil released;
            ev::segment_picture(*model_, image, options, lease->input, lease->logits, lease->labels, lease->context);
        }
        const NewArray<std::uint8_t> labels({image.height(), image.width()});
        std::copy(lease->labels.labels.begin(), lease->labels.labels.end(), labels.data);
        return labels.array;
    }

private:
    using Lease = ev::detail::CallPool<Call>::Lease;

    /// As PyTorch has them: logits of a classifier are (N, classes).
    std::vector<std::int64_t> dimensions(const ev::Shape& s) const {
        if (info().task == ev::Task::classification) return {s.n, s.c};
        return {s.n, s.c, s.h, s.w};
    }
    NewArray<float> new_output(const ev::Shape& s) const {
        if (info().task == ev::Task::classification) return NewArray<float>({s.n, s.c});
        return NewArray<float>({s.n, s.c, s.h, s.w});
    }

    void compute(const ev::ConstTensorView& x, const ev::TensorView& y) const {
        const Lease lease(calls_);
        const ReleasedGil released;
        model_->forward_final(x, y, lease->context);
    }

    std::unique_ptr<ev::AnyModel> model_;
    mutable ev::detail::CallPool<Call> calls_;
    std::vector<std::string> outputs_;
    int threads_;
};

ev::PictureOptions picture_options(const std::string& fit, int size, double crop_ratio) {
    if (fit != "published" && fit != "whole") {
        throw ev::ConfigError("fit is '" + fit + "', expected published or whole");
    }
    return {.fit = fit == "whole" ? ev::PictureFit::whole : ev::PictureFit::published,
            .side = size,
            .crop_ratio = crop_ratio};
}

void bind_info(nb::class_<Model>& c) {
    const auto property = [&](const char* name, auto get, const char* doc) { c.def_prop_ro(name, get, doc); };
    property(
        "name", [](const Model& m) { return m.info().name; }, "As in model_names(): \"cls_b1\".");
    property(
        "task", [](const Model& m) { return std::string(ev::task_name(m.info().task)); },
        "\"backbone\", \"classification\", \"segmentation\" or \"image_encoder\".");
    property(
        "n_classes", [](const Model& m) { return m.info().n_classes; }, "0 where there are none.");
    property(
        "in_channels", [](const Model& m) { return m.info().in_channels; }, "Of the input.");
    c.def_prop_ro(
        "input_size", [](const Model& m) { return nb::make_tuple(m.info().height, m.info().width); },
        nb::sig("def input_size(self) -> tuple[int, int]"), "Rows and columns of the usual input.");
    property(
        "size_multiple", [](const Model& m) { return m.info().size_multiple; }, "What H and W must be multiples of.");
    property(
        "crop_ratio", [](const Model& m) { return m.info().crop_ratio; },
        "Of classification: the input's share of the resized picture's short side.");
    c.def_prop_ro(
        "mean", [](const Model& m) { return nb::make_tuple(m.info().mean[0], m.info().mean[1], m.info().mean[2]); },
        nb::sig("def mean(self) -> tuple[float, float, float]"), "R, G, B in [0, 1] are normalised by these.");
    c.def_prop_ro(
        "std", [](const Model& m) { return nb::make_tuple(m.info().std[0], m.info().std[1], m.info().std[2]); },
        nb::sig("def std(self) -> tuple[float, float, float]"), "Likewise.");
    property(
        "outputs", [](const Model& m) { return m.outputs(); }, "The names of what features() gives.");
    property(
        "isa", [](const Model& m) { return std::string(ev::isa_name(m.model().isa())); },
        "The instruction set that the weights are packed for.");
    property(
        "precision", [](const Model& m) { return std::string(m.model().precision()); },
        "What multiplies: \"f32\", \"bf16_weights\", \"bf16 (AMX)\".");
    property(
        "threads", [](const Model& m) { return m.threads(); }, "That work on one call; 0: as many as there are.");
}

}  // namespace

void bind_models(nb::module_& m) {
    nb::class_<ev::StateDict>(m, "StateDict", "Weights that were read; for Model and Sam.")
        .def_static("read", &read_weights, "path"_a, "entry"_a,
                    "A file's tensors; load() says of what kinds and what `entry` is. `path` is what os.fsencode() "
                    "gives.\n\nRaises WeightsError.")
        .def_static("parse", &parse_weights, "data"_a, "entry"_a, "The same of a file's bytes, which are copied.")
        .def("names", &ev::StateDict::names, "The tensors' names.");

    nb::class_<Model> c(m, "Model",
                        "A network with its weights. load() makes one. Any number of threads may call it at the same "
                        "time; the GIL is released while it computes.");
    bind_load(c);
    c.def(
        "__call__", &Model::call, "x"_a, "out"_a = nb::none(),
        nb::sig("def __call__(self, x: typing.Any, out: numpy.typing.NDArray[numpy.float32] | None = None) -> "
                "numpy.typing.NDArray[numpy.float32]"),
        "The last output of x, float32 of shape (N, C, H, W): logits (N, classes) of a classifier, (N, classes, H/8, "
        "W/8) of a segmenter, the last stage of a backbone. x is an array of NumPy's, or has DLPack or the buffer "
        "protocol; it is copied only where it has gaps or another float type. Written to `out` where that is given.\n\n"
        "Raises ShapeError, TypeError.");
    c.def("features", &Model::features, "x"_a, "names"_a = nb::none(),
          nb::sig("def features(self, x: typing.Any, names: collections.abc.Sequence[str] | None = None) -> dict[str, "
                  "numpy.typing.NDArray[numpy.float32]]"),
          "All outputs of x by name, or those that are named: of a backbone \"stage0\", \"stage1\", ... and "
          "\"stage_final\", which is the last of them.\n\nRaises ShapeError, ConfigError, TypeError.");
    c.def(
        "pre_logits", &Model::pre_logits, "x"_a,
        nb::sig("def pre_logits(self, x: typing.Any) -> numpy.typing.NDArray[numpy.float32]"),
        "The input of a classifier's last layer, (N, features): a picture's embedding.\n\nRaises EfficientViTError for "
        "what is no classifier, ShapeError, TypeError.");
    c.def(
        "preprocess",
        [](const Model& model, nb::handle image, const std::string& fit, int size, double crop_ratio) {
            return model.preprocess(image, picture_options(fit, size, crop_ratio));
        },
        "image"_a, nb::kw_only(), "fit"_a = "published", "size"_a = 0, "crop_ratio"_a = 0,
        nb::sig("def preprocess(self, image: typing.Any, *, fit: str = 'published', size: int = 0, crop_ratio: float = "
                "0) -> numpy.typing.NDArray[numpy.float32]"),
        "The input (1, 3, H, W) that a picture becomes: one of PIL, or an array (H, W, 3) or (H, W) of uint8, red "
        "first. It is taken as it is stored: PIL.ImageOps.exif_transpose() turns phones' photos upright. "
        "fit=\"published\" does as the published accuracy was measured; fit=\"whole\" keeps the picture's size, "
        "padded where a segmenter needs it. `size` and `crop_ratio` are those of classifiers and backbones; 0: what "
        "the "
        "network's name says.\n\nRaises ImageError, ConfigError, ShapeError, TypeError.");
    c.def(
        "segment",
        [](const Model& model, nb::handle image, const std::string& fit) {
            return model.segment(image, picture_options(fit, 0, 0));
        },
        "image"_a, nb::kw_only(), "fit"_a = "published",
        nb::sig("def segment(self, image: typing.Any, *, fit: str = 'published') -> "
                "numpy.typing.NDArray[numpy.uint8]"),
        "The class of each pixel of a picture, (H, W): preprocess(), the network, and its logits enlarged to the "
        "picture's size.\n\nRaises ConfigError where the network is no segmenter, and as preprocess().");
    c.def("__repr__", [](const Model& model) {
        return "<efficientvit_cpu.Model " + model.info().name + ", " + std::string(model.model().precision()) + ", " +
               std::string(ev::isa_name(model.model().isa())) + ">";
    });
    bind_info(c);
}

}  // namespace python
