// SPDX-License-Identifier: Apache-2.0
//
// One network behind a C interface, so that the comparison can call it as it calls the others: from Python. Not an API
// to build on. EVC_NETWORK names the type, for instance ev::BackboneB0; without it the library holds a
// network that does next to nothing (a relu), which measures what the call itself costs. With EVC_BF16 it also knows
// bfloat16, with EVC_INT8 8-bit integers, whose kernels a library that is asked for float32 alone is spared.
#include <efficientvit/efficientvit.hpp>
#ifdef EVC_BF16
#include <efficientvit/kernels/bf16.hpp>
#endif
#ifdef EVC_INT8
#include <efficientvit/kernels/int8.hpp>
#endif
#include <efficientvit/weights/safetensors.hpp>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "guarded.hpp"

namespace ev = efficientvit;

namespace {

#ifdef EVC_NETWORK
/// An L backbone with the epsilons that timm gives it.
[[maybe_unused]] constexpr ev::LargeBackboneConfig as_in_timm(ev::LargeBackboneConfig config) {
    config.norm_eps = 1e-7;
    config.attention_eps = 1e-5;
    return config;
}
using Network = EVC_NETWORK;
#else
struct Network {
    void load_state_dict(const ev::StateDict&, const ev::LoadOptions&) {}
    static ev::Isa isa() { return ev::default_isa(); }
    static std::string_view precision() { return "f32"; }
    static ev::Shape output_shape(const ev::Shape& in) { return in; }
    static void forward_final(const ev::ConstTensorView& x, const ev::TensorView& y, ev::Context&) {
        const std::ptrdiff_t count = x.shape.n * x.shape.c * x.shape.h * x.shape.w;
        for (std::ptrdiff_t i = 0; i < count; ++i) y.data[i] = x.data[i] < 0 ? 0 : x.data[i];
    }
};
#endif

struct Model {
    Network network;
    ev::Context context;
};

ev::Precision precision_named(std::string_view name) {
    if (name == "f32") return {};
#ifdef EVC_BF16
    if (name == "bf16") return ev::Precision::bf16;
#endif
#ifdef EVC_INT8
    if (name == "int8") return ev::Precision::int8;
#endif
    throw std::invalid_argument("this build knows no precision '" + std::string(name) + "'");
}

/// A backbone's last map, or a head's output.
template <class N>
void run(const N& network, const ev::ConstTensorView& x, const ev::TensorView& y, ev::Context& context) {
    if constexpr (requires { network.forward_final(x, y, context); }) {
        network.forward_final(x, y, context);
    } else {
        network.forward(x, y, context);
    }
}

}  // namespace

#define EVC_API extern "C" __attribute__((visibility("default")))

/// Why the last call on this thread returned -1 or null.
EVC_API const char* evc_error() { return last_error.c_str(); }

/// Loads safetensors; an empty path loads nothing. precision: "f32", "bf16" with EVC_BF16, "int8" with EVC_INT8. Null
/// where that fails.
EVC_API void* evc_open(const char* weights, int threads, const char* precision) {
    std::unique_ptr<Model> model;
    guarded([&] {
        auto loading = std::make_unique<Model>(Model{Network(), ev::Context({.threads = threads})});
        const ev::LoadOptions options{.precision = precision_named(precision)};
        if (*weights != '\0') loading->network.load_state_dict(ev::load_safetensors(weights), options);
        model = std::move(loading);
    });
    return model.release();
}

EVC_API void evc_close(void* model) { delete static_cast<Model*>(model); }

/// What its products are of, as Module::precision() tells it.
EVC_API const char* evc_precision(const void* model) {
    static thread_local std::string name;
    if (guarded([&] { name = static_cast<const Model*>(model)->network.precision(); }) != 0) return nullptr;
    return name.c_str();
}

/// The instruction set that runs.
EVC_API const char* evc_isa(const void* model) {
    static thread_local std::string name;
    if (guarded([&] { name = ev::isa_name(static_cast<const Model*>(model)->network.isa()); }) != 0) return nullptr;
    return name.c_str();
}

/// The output's shape (4 numbers) for an input's (4 numbers).
EVC_API int evc_output_shape(const std::ptrdiff_t* in, std::ptrdiff_t* out) {
    return guarded([&] {
        const ev::Shape shape = Network::output_shape({in[0], in[1], in[2], in[3]});
        out[0] = shape.n;
        out[1] = shape.c;
        out[2] = shape.h;
        out[3] = shape.w;
    });
}

/// x and y: NCHW floats of the two shapes.
EVC_API int evc_forward(void* model, const float* x, const std::ptrdiff_t* in, float* y, const std::ptrdiff_t* out) {
    return guarded([&] {
        Model& m = *static_cast<Model*>(model);
        run(m.network, ev::ConstTensorView{x, {in[0], in[1], in[2], in[3]}},
            ev::TensorView{y, {out[0], out[1], out[2], out[3]}}, m.context);
    });
}
