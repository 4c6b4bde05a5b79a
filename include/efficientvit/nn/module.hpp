// SPDX-License-Identifier: Apache-2.0
//
// What every layer, block and model can do for its user: load weights, say its names, run on NCHW tensors. And what it
// must be able to do for its neighbours, as a concept.
#pragma once

#include <efficientvit/nn/packing.hpp>
#include <efficientvit/nn/schedules.hpp>
#include <efficientvit/runtime/context.hpp>
#include <efficientvit/runtime/feature_map.hpp>
#include <efficientvit/tensor.hpp>
#include <efficientvit/weights/load.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// A part of a network as its neighbours see it. in_channels == 0: any number, and out_channels the same.
template <class T>
concept Layer = requires(const T& layer, T& unpacked, Session& session, const FeatureMap& map, const Packer& packer,
                         const Describer& describer, Extent extent) {
    { T::in_channels } -> std::convertible_to<int>;
    { T::out_channels } -> std::convertible_to<int>;
    { T::stride } -> std::convertible_to<int>;           // of the whole layer
    { T::wanted_padding } -> std::convertible_to<int>;   // zero columns it wants beside its input's rows
    { T::reads_planar } -> std::convertible_to<bool>;    // takes NCHW memory as it is
    { T::fuses_residual } -> std::convertible_to<bool>;  // adds a residual as it writes
    { T::output_extent(extent) } -> std::same_as<Extent>;
    T::describe(describer);
    unpacked.pack(packer);
    layer.run(session, map, map, static_cast<const FeatureMap*>(nullptr));
};

inline int chunks_of(const Session& session, int items) { return chunks_of(session.workers(), items); }

inline void convert_to_blocked(Session& session, const FeatureMap& from, const FeatureMap& to) {
    session.parallel(to.batch * to.blocks(),
                     [&](int chunk, int) { to_blocked(from, to, chunk / to.blocks(), chunk % to.blocks()); });
}

inline void convert_to_planar(Session& session, const FeatureMap& from, const FeatureMap& to) {
    session.parallel(from.batch * from.blocks(),
                     [&](int chunk, int) { to_planar(from, to, chunk / from.blocks(), chunk % from.blocks()); });
}

/// A new map for `consumer` to read, in the session's memory.
inline FeatureMap new_map(Session& session, int batch, int channels, Extent extent, int padding) {
    FeatureMap map = blocked_map(batch, channels, extent, padding);
    session.workspace.place(map);
    if (!session.measuring()) clear_padding(map);
    return map;
}

/// What decides about the kernels of a block of convolutions.
struct LayerTraits {
    int in_channels;
    int most_channels;    // of the other maps
    bool halves = false;  // the map, and has no shortcut
};

/// The kernels of a block in a network whose kernels are `table`: its weights are packed for these, and it runs in a
/// part of the session that has them.
inline const kernels::Table& layer_kernels(const kernels::Table& table, const LayerTraits& layer) {
    if (!kernels::has_bytes(table.operands)) return table;
    const kernels::Table& few = kernels::of_few_channels(table);
    const int most_channels = std::max(layer.in_channels, layer.most_channels);
    if (most_channels <= most_float_channels) return kernels::of_floats(table);
    if (layer.in_channels < least_int8_channels || most_channels <= least_int8_channels) return few;
    const bool exact = layer.halves && layer.in_channels >= least_exact_channels &&
                       most_channels <= most_exact_widening * layer.in_channels;
    return exact && few.operands == kernels::Operands::bf16 ? few : table;
}
inline Packer layer_packer(const Packer& p, const LayerTraits& layer) {
    return {p.weights, &layer_kernels(*p.kernels, layer), p.winograd, p.memory};
}
inline Session layer_session(const Session& whole, const LayerTraits& layer) {
    return {whole, layer_kernels(whole.kernels, layer)};
}

/// x as a layer can read it: itself, or turned into the blocked layout.
template <class L>
FeatureMap readable_by(Session& session, const FeatureMap& x) {
    if (L::reads_planar || x.block != 1) return x;
    const FeatureMap map = new_map(session, x.batch, x.channels, x.extent(), L::wanted_padding);
    convert_to_blocked(session, x, map);
    return map;
}

}  // namespace detail

/// Base of what has weights (CRTP): Derived says their names by describe() and takes them by pack().
template <class Derived>
class Loadable {
public:
    /// Takes the weights, folds and packs them for the kernels of options.isa. Nothing refers to `weights`
    /// afterwards. Throws WeightsError, listing all that is missing, unexpected or of a wrong shape; the module is
    /// then as before.
    EFFICIENTVIT_COLD LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) {
        return load_state_dict(weights, parameters(), options);
    }

    /// For AnyModel: the same with parameters of which some may have Parameter::any rows. `open_extent` gets their
    /// number, 0 if they are left out.
    EFFICIENTVIT_COLD LoadReport load_state_dict(const StateDict& weights, const std::vector<Parameter>& wanted,
                                                 const LoadOptions& options, std::int64_t* open_extent = nullptr) {
        const detail::FloatEnvironment environment;  // what is folded does not depend on the caller's modes
        MatchedWeights matched(weights, wanted, options);
        Derived loaded;
        detail::WeightMemory memory;
        loaded.load({WeightReader(matched), &kernels_for(options), winograd_wanted(options), &memory});
        static_cast<Derived&>(*this) = std::move(loaded);
        if (open_extent != nullptr) *open_extent = matched.open_extent();
        return matched.take_report();
    }

    /// Names and shapes of the state dict, in the reference's order (without num_batches_tracked).
    EFFICIENTVIT_COLD static std::vector<Parameter> parameters() {
        std::vector<Parameter> all;
        Derived::describe(detail::Describer(all));
        return all;
    }

    /// Whether load_state_dict() has been called; forward throws WeightsError before.
    bool loaded() const { return kernels_.table != nullptr; }

    /// The instruction set that the weights are packed for. Throws WeightsError before load_state_dict().
    Isa isa() const { return kernels().isa; }

    /// What multiplies: "f32", "bf16_weights", or "bf16", "int8" or "f16" with the unit that does it, "bf16 (AMX)".
    /// Throws WeightsError before load_state_dict().
    std::string_view precision() const { return kernels().products; }

    /// Packs the weights below p; for modules made of modules.
    void load(const detail::Packer& p) {
        static_cast<Derived&>(*this).pack(p);
        kernels_.table = p.kernels;
    }

protected:
    /// For derived classes: the kernels that the weights are packed for. Throws WeightsError before load_state_dict().
    const kernels::Table& kernels() const {
        if (kernels_.table == nullptr) throw WeightsError("forward: no weights yet, call load_state_dict first");
        return *kernels_.table;
    }

private:
    EFFICIENTVIT_COLD static const kernels::Table& kernels_for(const LoadOptions& options) {
        const Isa isa = options.isa ? *options.isa : default_isa();
        return options.precision.kernels() == nullptr ? kernels::table(isa) : options.precision.kernels()(isa);
    }

    /// Goes when the weights go: a module that has been moved from has none.
    struct Kernels {
        const kernels::Table* table = nullptr;
        Kernels() = default;
        Kernels(const Kernels&) = default;
        Kernels(Kernels&& other) noexcept : table(std::exchange(other.table, nullptr)) {}
        Kernels& operator=(Kernels other) noexcept {
            table = other.table;
            return *this;
        }
        ~Kernels() = default;
    };
    Kernels kernels_;
};

/// Base of all layers (CRTP): one map in, one map out.
template <class Derived>
class Module : public Loadable<Derived> {
public:
    /// The shape of forward's result. Throws ShapeError where the input does not fit.
    static Shape output_shape(const Shape& input) {
        const float somewhere = 0;
        detail::check_input({&somewhere, input}, Derived::in_channels, "output_shape");
        const detail::Extent out = Derived::output_extent({static_cast<int>(input.h), static_cast<int>(input.w)});
        const Shape shape{input.n, Derived::out_channels == 0 ? input.c : Derived::out_channels, out.height, out.width};
        if (detail::is_too_large(shape)) {
            throw ShapeError(detail::concat({"the output ", detail::to_string(shape), " is too large"}));
        }
        return shape;
    }

    /// Computes the layer on an NCHW tensor, map or view, of at most 65536 images and 2^28 pixels an image. Const: any
    /// number of threads may share a module, each with a Context of its own. Throws ShapeError, WeightsError.
    template <class X>
    Tensor forward(const X& x, Context& context) const {
        Tensor y;
        forward(x, y, context);
        return y;
    }
    /// The same with a Context of the calling thread's.
    template <class X>
    Tensor forward(const X& x) const {
        return forward(x, detail::CallContext().get());
    }

    /// The same into a tensor, which is resized where its shape differs, or into a view, whose shape must fit. x
    /// and y must not overlap.
    template <class X>
    void forward(const X& x, Tensor& y, Context& context) const {
        const ConstTensorView in = to_const(view(x));
        detail::check_input(in, Derived::in_channels, "forward");
        detail::resize(y, output_shape(in.shape));
        forward(in, view(y), context);
    }
    /// The same into a view.
    template <class X, class Y>
    void forward(const X& x, const Y& y, Context& context) const {
        const ConstTensorView in = to_const(view(x));
        const TensorView out = view(y);
        detail::check_input(in, Derived::in_channels, "forward");
        detail::check_output(out, output_shape(in.shape), "forward");
        compute(in, out, context);
    }

    /// For AnyModel: forward with an output of as many channels as were loaded. Checks nothing.
    void compute(const ConstTensorView& in, const TensorView& out, Context& context) const {
        context.run(kernels(), [&](detail::Session& session) { run_whole(session, in, out); });
    }

    /// Bytes of scratch memory that forward takes in this Context for an input of this shape.
    std::uint64_t workspace_bytes(const Shape& input, const Context& context) const {
        return workspace_bytes(input, output_shape(input), context);
    }
    /// For AnyModel: the same for an output of as many channels as were loaded.
    std::uint64_t workspace_bytes(const Shape& input, const Shape& output, const Context& context) const {
        return context.measure(kernels(), [&](detail::Session& session) {
            run_whole(session, {nullptr, input}, {nullptr, output});
        });
    }

protected:
    using Loadable<Derived>::kernels;

    /// A view to read from.
    static ConstTensorView to_const(const TensorView& v) { return {v.data, v.shape}; }
    /// A view to read from.
    static ConstTensorView to_const(const ConstTensorView& v) { return v; }

    /// run(from, to) between maps that layers read and write, of which x and y are the planar ones.
    template <class Run>
    static void run_planar(detail::Session& session, const ConstTensorView& x, const TensorView& y, const Run& run) {
        const detail::FeatureMap from = detail::readable_by<Derived>(session, detail::planar_map(x));
        const detail::FeatureMap to = detail::planar_map(to_const(y));
        const detail::FeatureMap result = detail::new_map(session, to.batch, to.channels, to.extent(), 0);
        run(from, result);
        detail::convert_to_planar(session, result, to);
    }

private:
    void run_whole(detail::Session& session, const ConstTensorView& x, const TensorView& y) const {
        run_planar(session, x, y, [&](const detail::FeatureMap& from, const detail::FeatureMap& to) {
            static_cast<const Derived&>(*this).run(session, from, to, nullptr);
        });
    }
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
