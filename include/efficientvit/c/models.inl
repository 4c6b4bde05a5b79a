// SPDX-License-Identifier: Apache-2.0
//
// Part of compiled/c.cpp: the library, networks and pictures of efficientvit.h.
EFFICIENTVIT_BEGIN_NAMESPACE
namespace c_interface {

/// What one call on a model uses.
struct ModelCall {
    explicit ModelCall(const ContextOptions& options) : context(options) {}
    Context context;
    NamedTensors outputs{};
    Tensor input{}, logits{};
    LabelMap labels{};
};

}  // namespace c_interface
EFFICIENTVIT_END_NAMESPACE

struct ev_model {
    std::unique_ptr<efficientvit::AnyModel> model;
    mutable efficientvit::detail::CallPool<efficientvit::c_interface::ModelCall> calls;
    std::vector<std::string> outputs;  // their names
    std::string isa, precision;
};

EFFICIENTVIT_BEGIN_NAMESPACE
namespace c_interface {

using ModelLease = detail::CallPool<ModelCall>::Lease;

inline ev_model* new_model(const Weights& weights, const ev_load_options& options) {
    const ContextOptions context = context_options_of(options);
    std::unique_ptr<AnyModel> model = compiled::make_model(weights.network);
    model->load_state_dict(weights.tensors, load_options_of(options));
    const ModelInfo& info = model->info();
    std::vector<std::string> names;
    for (const AnyModel::Output& output : model->outputs({1, info.in_channels, info.height, info.width})) {
        names.push_back(output.name);
    }
    std::string isa(isa_name(model->isa())), precision(model->precision());
    return new ev_model{std::move(model),
                        detail::CallPool<ModelCall>([context] { return std::make_unique<ModelCall>(context); }),
                        std::move(names), std::move(isa), std::move(precision)};
}

/// An output by the name that the caller gives.
struct NamedOutput {
    int index = 0;  // of the model's outputs; pre_logits that are none of these: -1
    Shape shape{};
};

/// The output of this name, the last one for NULL. Throws ConfigError where there is none.
inline NamedOutput output_of(const ev_model& model, const char* name, const Shape& input) {
    const std::vector<AnyModel::Output> all = model.model->outputs(input);
    const int last = static_cast<int>(all.size()) - 1;
    if (name == nullptr) return {last, all.back().shape};
    const std::string_view asked(name);
    for (int i = 0; i <= last; ++i) {
        const AnyModel::Output& output = all[static_cast<std::size_t>(i)];
        if (output.name == asked) return {i, output.shape};
    }
    const ModelInfo& info = model.model->info();
    if (info.task == Task::backbone && asked == "stage_final") return {last, all.back().shape};
    if (info.task == Task::classification && asked == "pre_logits") return {-1, model.model->pre_logits_shape(input)};
    throw ConfigError(detail::concat({info.name, " has no output ", detail::in_quotes(asked)}));
}

/// Writes one output where the caller wants it; nothing that it does not need is computed.
inline void compute_output(const ev_model& model, const NamedOutput& output, const ConstTensorView& x, float* y,
                           Context& context) {
    const TensorView to{y, output.shape};
    if (output.index < 0) {
        model.model->forward_pre_logits(x, to, context);
    } else if (static_cast<std::size_t>(output.index) + 1 == model.outputs.size()) {
        model.model->forward_final(x, to, context);
    } else {
        model.model->forward_stage(model.outputs[static_cast<std::size_t>(output.index)], x, to, context);
    }
}

inline ev_preprocess_options default_preprocess_options() {
    return {sizeof(ev_preprocess_options), EV_FIT_PUBLISHED, 0, 0};
}

inline PictureOptions picture_options_of(const ev_preprocess_options* options) {
    const ev_preprocess_options from = read_struct(options, default_preprocess_options(), "ev_preprocess_options");
    if (from.fit != EV_FIT_PUBLISHED && from.fit != EV_FIT_WHOLE) {
        throw ConfigError(detail::concat({"no fit has the number ", std::to_string(from.fit)}));
    }
    return {.fit = from.fit == EV_FIT_WHOLE ? PictureFit::whole : PictureFit::published,
            .side = from.side,
            .crop_ratio = from.crop_ratio};
}

inline int task_of(Task task) {
    switch (task) {
        case Task::classification:
            return EV_CLASSIFICATION;
        case Task::segmentation:
            return EV_SEGMENTATION;
        case Task::image_encoder:
            return EV_IMAGE_ENCODER;
        case Task::backbone:
            break;
    }
    return EV_BACKBONE;
}

}  // namespace c_interface
EFFICIENTVIT_END_NAMESPACE

extern "C" {

namespace ev_c = efficientvit::c_interface;

int ev_abi_version(void) { return EV_ABI_VERSION; }

const char* ev_version(void) { return EFFICIENTVIT_VERSION; }

size_t ev_build_info(char* text, size_t size) {
    try {
        std::ostringstream out;
        out << efficientvit::build_info();
        const std::string all = out.str();
        if (text != nullptr && size > 0) text[all.copy(text, size - 1)] = '\0';
        return all.size() + 1;
    } catch (...) {
        if (text != nullptr && size > 0) *text = '\0';
        return 0;
    }
}

const char* ev_network(int index) {
    return index < 0 ? nullptr : efficientvit::compiled::model_name(static_cast<std::size_t>(index));
}

void ev_load_options_init(ev_load_options* options, size_t size) {
    ev_c::init_struct(ev_c::default_load_options(), options, size);
}

ev_status ev_model_load(const char* path, const ev_load_options* options, ev_model** model, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_load_options o = ev_c::read_struct(options, ev_c::default_load_options(), "ev_load_options");
        ev_c::given(model, "model") = nullptr;
        *model = ev_c::new_model(ev_c::read_weights(path, o), o);
    });
}

ev_status ev_model_load_bytes(const void* bytes, size_t size, const ev_load_options* options, ev_model** model,
                              ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_load_options o = ev_c::read_struct(options, ev_c::default_load_options(), "ev_load_options");
        ev_c::given(model, "model") = nullptr;
        *model = ev_c::new_model(ev_c::parse_weights(bytes, size, o), o);
    });
}

void ev_model_free(ev_model* model) { delete model; }

ev_status ev_model_get_info(const ev_model* model, ev_model_info* info, size_t size, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_model& m = ev_c::given(model, "model");
        ev_c::given(info, "info");
        const efficientvit::ModelInfo& from = m.model->info();
        ev_model_info out{};
        out.network = from.name.c_str();
        out.task = ev_c::task_of(from.task);
        out.in_channels = from.in_channels;
        out.n_classes = from.n_classes;
        out.height = from.height;
        out.width = from.width;
        out.size_multiple = from.size_multiple;
        out.outputs = static_cast<int>(m.outputs.size());
        out.crop_ratio = from.crop_ratio;
        std::copy(from.mean.begin(), from.mean.end(), out.mean);
        std::copy(from.std.begin(), from.std.end(), out.std);
        out.isa = m.isa.c_str();
        out.precision = m.precision.c_str();
        ev_c::write_struct(out, info, size);
    });
}

const char* ev_model_output_name(const ev_model* model, int output) {
    if (model == nullptr || output < 0 || static_cast<std::size_t>(output) >= model->outputs.size()) return nullptr;
    return model->outputs[static_cast<std::size_t>(output)].c_str();
}

ev_status ev_model_output_shape(const ev_model* model, const char* output, ev_shape input, ev_shape* shape,
                                ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_model& m = ev_c::given(model, "model");
        ev_c::given(shape, "shape") = ev_c::to_c(ev_c::output_of(m, output, ev_c::shape_of(input)).shape);
    });
}

ev_status ev_model_forward(const ev_model* model, const float* x, ev_shape shape, float* y, size_t y_count,
                           ev_error* error) {
    const ev_output output = {nullptr, y, y_count};
    return ev_model_forward_outputs(model, x, shape, &output, 1, error);
}

ev_status ev_model_forward_outputs(const ev_model* model, const float* x, ev_shape shape, const ev_output* outputs,
                                   int count, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_model& m = ev_c::given(model, "model");
        const efficientvit::Shape input = ev_c::shape_of(shape);
        if (count < 0) throw ev_c::ArgumentError("count is negative");
        if (count > 0) ev_c::given(outputs, "outputs");
        std::vector<ev_c::NamedOutput> wanted;
        for (int i = 0; i < count; ++i) {
            wanted.push_back(ev_c::output_of(m, outputs[i].name, input));
            ev_c::check_room(outputs[i].data, outputs[i].count, ev_c::element_count(wanted.back().shape),
                             outputs[i].name == nullptr ? "y" : outputs[i].name);
        }
        const efficientvit::ConstTensorView in{&ev_c::given(x, "x"), input};
        const ev_c::ModelLease lease(m.calls);
        if (count == 1 || m.model->info().task != efficientvit::Task::backbone) {
            for (int i = 0; i < count; ++i) {
                ev_c::compute_output(m, wanted[static_cast<std::size_t>(i)], in, outputs[i].data, lease->context);
            }
            return;
        }
        m.model->forward(in, lease->outputs, lease->context);
        for (int i = 0; i < count; ++i) {
            const auto index = static_cast<std::size_t>(wanted[static_cast<std::size_t>(i)].index);
            const efficientvit::Tensor& from = lease->outputs.items()[index].tensor;
            std::copy_n(from.data(), from.size(), outputs[i].data);
        }
    });
}

void ev_preprocess_options_init(ev_preprocess_options* options, size_t size) {
    ev_c::init_struct(ev_c::default_preprocess_options(), options, size);
}

ev_status ev_model_input_shape(const ev_model* model, int height, int width, const ev_preprocess_options* options,
                               ev_shape* shape, ev_error* error) {
    return ev_c::call(error, [&] {
        const efficientvit::ModelInfo& info = ev_c::given(model, "model").model->info();
        ev_c::given(shape, "shape") =
            ev_c::to_c(efficientvit::picture_shape(info, {height, width}, ev_c::picture_options_of(options)));
    });
}

ev_status ev_model_preprocess(const ev_model* model, const ev_image* image, const ev_preprocess_options* options,
                              float* x, size_t x_count, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_model& m = ev_c::given(model, "model");
        const efficientvit::Image picture = ev_c::image_of(image);
        const efficientvit::PictureOptions how = ev_c::picture_options_of(options);
        const efficientvit::Shape shape = efficientvit::picture_shape(m.model->info(), picture.size(), how);
        ev_c::check_room(x, x_count, ev_c::element_count(shape), "x");
        const ev_c::ModelLease lease(m.calls);
        efficientvit::preprocess_picture(m.model->info(), picture, how, lease->input);
        std::copy_n(lease->input.data(), lease->input.size(), x);
    });
}

ev_status ev_model_segment(const ev_model* model, const ev_image* image, const ev_preprocess_options* options,
                           unsigned char* labels, size_t labels_count, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_model& m = ev_c::given(model, "model");
        const efficientvit::Image picture = ev_c::image_of(image);
        const ev_c::ModelLease lease(m.calls);
        ev_c::check_room(labels, labels_count, picture.bytes().size() / efficientvit::Image::channels, "labels");
        efficientvit::segment_picture(*m.model, picture, ev_c::picture_options_of(options), lease->input, lease->logits,
                                      lease->labels, lease->context);
        std::copy(lease->labels.labels.begin(), lease->labels.labels.end(), labels);
    });
}

}  // extern "C"
