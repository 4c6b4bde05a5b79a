// SPDX-License-Identifier: Apache-2.0
//
// OpSequential of the reference: layers one after the other, composed at compile time.
#pragma once

#include <efficientvit/nn/identity_layer.hpp>

#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

template <class... Layers>
class Sequence;

/// OpSequential without the NoLayer entries.
template <class Kept, class... Layers>
struct WithoutNoLayer;
template <class... Kept>
struct WithoutNoLayer<Sequence<Kept...>> {
    using type = Sequence<Kept...>;
};
template <class... Kept, class First, class... Rest>
struct WithoutNoLayer<Sequence<Kept...>, First, Rest...> {
    using type = typename std::conditional_t<std::is_same_v<First, NoLayer>, WithoutNoLayer<Sequence<Kept...>, Rest...>,
                                             WithoutNoLayer<Sequence<Kept..., First>, Rest...>>::type;
};

/// The map in this place, its padding cleared.
inline FeatureMap map_at(const Session& session, float* place, FeatureMap map) {
    if (session.measuring()) return map;
    map.data = place + Index{map.padding} * map.block;
    clear_padding(map);
    return map;
}

template <class... Layers>
class Sequence {
public:
    static constexpr int count = sizeof...(Layers);
    using Tuple = std::tuple<Layers...>;
    template <int Nth>
    using At = std::tuple_element_t<static_cast<std::size_t>(Nth), Tuple>;
    static_assert(count > 0, "OpSequential: at least one layer is needed");

    /// Layers that change nothing about the channels (IdentityLayer) have 0: the next or last one that does,
    /// counts.
    static constexpr int in_channels = [] {
        int channels = 0;
        ((channels = channels == 0 ? Layers::in_channels : channels), ...);
        return channels;
    }();
    static constexpr int out_channels = [] {
        int channels = 0;
        ((channels = Layers::out_channels == 0 ? channels : Layers::out_channels), ...);
        return channels;
    }();
    static constexpr bool fits = [] {
        int channels = 0;
        bool all = true;
        ((all = all && (channels == 0 || Layers::in_channels == 0 || channels == Layers::in_channels),
          channels = Layers::out_channels == 0 ? channels : Layers::out_channels),
         ...);
        return all;
    }();
    static_assert(fits, "OpSequential: a layer's in_channels must be the out_channels of the layer before it");

    static constexpr int stride = (Layers::stride * ...);
    static constexpr int wanted_padding = At<0>::wanted_padding;
    static constexpr bool reads_planar = At<0>::reads_planar;
    static constexpr bool fuses_residual = At<count - 1>::fuses_residual;

    static Extent output_extent(Extent extent) {
        ((extent = Layers::output_extent(extent)), ...);
        return extent;
    }
    /// name(i) is what layer i is called below d or p.
    template <class Name>
    EFFICIENTVIT_COLD static void describe(const Describer& d, const Name& name) {
        int i = 0;
        (Layers::describe(d.at(name(i++))), ...);
    }
    template <class Name>
    EFFICIENTVIT_COLD void pack(const Packer& p, const Name& name) {
        int i = 0;
        std::apply([&](auto&... layer) { (layer.pack(p.at(name(i++))), ...); }, layers_);
    }

    /// From x to y through all layers.
    void run(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        run_first<count>(session, x, y, residual);
    }

    /// The same through the first End layers alone.
    template <int End>
    void run_first(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        const Workspace::Frame frame(session.workspace);
        const Places places = take<End - 1>(session, x, End - 1);
        step_to<0, End>(session, x, y, residual, places);
    }

    /// Through the layers up to number `last` without an output of one's own: visit(i, map) sees the map behind every
    /// layer i.
    template <class Visit>
    void run_visiting(Session& session, const FeatureMap& x, int last, const Visit& visit) const {
        const Workspace::Frame frame(session.workspace);
        const Places places = take<count>(session, x, last + 1);
        step_visiting<0>(session, x, last, places, visit);
    }

    /// Layer Nth.
    template <int Nth>
    const At<Nth>& layer() const {
        return std::get<static_cast<std::size_t>(Nth)>(layers_);
    }

    /// visit(map) for the shape of every layer's output, without memory.
    template <class Visit>
    static void for_each_output(const FeatureMap& x, const Visit& visit) {
        outputs<0, count>(x, [&](int, const FeatureMap& map) { visit(map); });
    }

private:
    /// Maps between layers take turns in two places, each as large as the largest that comes there.
    struct Places {
        float* data[2];
    };

    /// The map behind layer Nth, as layer Nth + 1 wants it.
    template <int Nth>
    static FeatureMap behind(const FeatureMap& x) {
        int padding = 0;
        if constexpr (Nth + 1 < count) padding = At<Nth + 1>::wanted_padding;
        const int channels = At<Nth>::out_channels == 0 ? x.channels : At<Nth>::out_channels;
        return blocked_map(x.batch, channels, At<Nth>::output_extent(x.extent()), padding);
    }

    template <int Nth, int End, class Visit>
    static void outputs(const FeatureMap& x, const Visit& visit) {
        if constexpr (Nth < End) {
            const FeatureMap map = behind<Nth>(x);
            visit(Nth, map);
            outputs<Nth + 1, End>(map, visit);
        }
    }

    /// Room for what is behind the first `end` of the End layers.
    template <int End>
    static Places take(Session& session, const FeatureMap& x, int end) {
        Index sizes[2] = {0, 0};
        outputs<0, End>(x, [&](int i, const FeatureMap& map) {
            if (i < end) sizes[i % 2] = std::max(sizes[i % 2], map.floats());
        });
        float* const first = session.workspace.take(sizes[0]);
        return {{first, session.workspace.take(sizes[1])}};
    }

    template <int Nth, int End>
    void step_to(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual,
                 const Places& places) const {
        const auto& layer = std::get<static_cast<std::size_t>(Nth)>(layers_);
        if constexpr (Nth + 1 == End) {
            layer.run(session, x, y, residual);
        } else {
            const FeatureMap map = map_at(session, places.data[Nth % 2], behind<Nth>(x));
            layer.run(session, x, map, nullptr);
            step_to<Nth + 1, End>(session, map, y, residual, places);
        }
    }

    template <int Nth, class Visit>
    void step_visiting(Session& session, const FeatureMap& x, int last, const Places& places,
                       const Visit& visit) const {
        const FeatureMap map = map_at(session, places.data[Nth % 2], behind<Nth>(x));
        std::get<static_cast<std::size_t>(Nth)>(layers_).run(session, x, map, nullptr);
        visit(Nth, map);
        if constexpr (Nth + 1 < count) {
            if (Nth < last) step_visiting<Nth + 1>(session, map, last, places, visit);
        }
    }

    Tuple layers_;
};

}  // namespace detail

/// Layers in turn. NoLayer entries are dropped before numbering. State dict: op_list.<i>.
template <class... Layers>
class OpSequential : public Module<OpSequential<Layers...>> {
    using Sequence = typename detail::WithoutNoLayer<detail::Sequence<>, Layers...>::type;

public:
    static constexpr int in_channels = Sequence::in_channels;
    static constexpr int out_channels = Sequence::out_channels;
    static constexpr int stride = Sequence::stride;
    static constexpr int wanted_padding = Sequence::wanted_padding;
    static constexpr bool reads_planar = Sequence::reads_planar;
    static constexpr bool fuses_residual = Sequence::fuses_residual;

    static detail::Extent output_extent(detail::Extent in) { return Sequence::output_extent(in); }
    static void describe(const detail::Describer& d) { Sequence::describe(d.at("op_list"), index_name); }
    void pack(const detail::Packer& p) { op_list_.pack(p.at("op_list"), index_name); }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        op_list_.run(session, x, y, residual);
    }
    /// For heads: the first End layers alone.
    template <int End>
    void run_first(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y) const {
        op_list_.template run_first<End>(session, x, y, nullptr);
    }

private:
    static std::string index_name(int i) { return std::to_string(i); }

    Sequence op_list_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
