// SPDX-License-Identifier: Apache-2.0
//
// Scratch memory of a forward: one aligned buffer, handed out as a stack. The same forward run on a measuring
// workspace, which has no memory, tells how much it takes.
#pragma once

#include <efficientvit/runtime/aligned_buffer.hpp>
#include <efficientvit/runtime/feature_map.hpp>

#include <algorithm>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// A stack of floats. Take what a layer needs; a Workspace::Frame gives it all back at the end of a scope. Counted in
/// 64 bits on every system: measuring tells of more than a 32-bit one can hold.
class Workspace {
public:
    /// Without memory: pointers are null, peak() counts.
    Workspace() = default;
    explicit Workspace(AlignedBuffer<float>& memory) : base_(memory.data()) {}
    /// A part of another's memory, aligned, which must be as large as what is taken.
    explicit Workspace(float* memory) : base_(memory) {}

    bool measuring() const { return base_ == nullptr; }
    Index peak() const { return peak_; }

    float* take(Index floats) {
        constexpr Index line = alignment / sizeof(float);
        float* const p = measuring() ? nullptr : base_ + used_;
        used_ += (floats + line - 1) / line * line;
        peak_ = std::max(peak_, used_);
        return p;
    }

    /// Room for `count` pointers.
    const float** take_pointers(Index count) {
        return reinterpret_cast<const float**>(take(count * Index{sizeof(void*) / sizeof(float)}));
    }

    int* take_ints(Index count) {
        static_assert(sizeof(int) == sizeof(float));
        return reinterpret_cast<int*>(take(count));
    }

    /// Memory for a map of this shape.
    void place(FeatureMap& map) {
        // Rows begin aligned behind their padding only if the padding itself is whole lines; a block of 8 with one
        // column of padding is not, and costs a few split loads.
        float* const p = take(map.floats());
        map.data = p == nullptr ? nullptr : p + Index{map.padding} * map.block;
    }

    class Frame {
    public:
        explicit Frame(Workspace& workspace) : workspace_(workspace), used_(workspace.used_) {}
        Frame(const Frame&) = delete;
        Frame& operator=(const Frame&) = delete;
        ~Frame() { workspace_.used_ = used_; }

    private:
        Workspace& workspace_;
        Index used_;
    };

private:
    float* base_ = nullptr;
    Index used_ = 0;
    Index peak_ = 0;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
