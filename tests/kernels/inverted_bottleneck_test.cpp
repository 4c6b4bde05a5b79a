// SPDX-License-Identifier: Apache-2.0
//
// Table::inverted_bottleneck against three naive convolutions of the whole map: bands, steps, rings of every size that
// nn/inverted_bottleneck.hpp may ask for, with and without expansion, and the form that leaves the projection out.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>

namespace {

struct Case {
    int height = 8, width = 9;  // of the input
    int in_channels = 12, mid_channels = 20, out_channels = 10;
    int kernel_size = 3;
    int stride = 1;
    bool expands = true;
    int step_rows = 2;
    bool whole = false;  // all input rows in the ring, which pairs of blocks use in turn
    int bands = 1;       // of output rows, one call each
    int slice_blocks = 0;
    int block_parts = 0;  // calls for a range of blocks each, without projection; 0: with it
    Act expand_act = Act::hswish_x6, depth_act = Act::hswish_x6, project_act = Act::none;
    bool residual = false;
    Guard guard = Guard::behind;

    friend std::ostream& operator<<(std::ostream& out, const Case& c) {
        return out << c.height << "x" << c.width << ", channels " << c.in_channels << " " << c.mid_channels << " "
                   << c.out_channels << ", kernel_size " << c.kernel_size << ", stride " << c.stride << ", expands "
                   << c.expands << ", step_rows " << c.step_rows << ", whole " << c.whole << ", bands " << c.bands
                   << ", slice_blocks " << c.slice_blocks << ", block_parts " << c.block_parts << ", acts "
                   << static_cast<int>(c.expand_act) << " " << static_cast<int>(c.depth_act) << " "
                   << static_cast<int>(c.project_act) << ", residual " << c.residual << ", guard "
                   << (c.guard == Guard::before ? "before" : "behind");
    }
};

/// [channel][row][column]
struct Plane {
    int channels, height, width;
    std::vector<Bounded> values;
    Plane(int c, int h, int w) : channels(c), height(h), width(w), values(static_cast<std::size_t>(c * h * w)) {}
    Bounded& at(int c, int y, int x) { return values[static_cast<std::size_t>((c * height + y) * width + x)]; }
};

/// As the library chooses it; the kernel takes either.
int block_for(int channels) { return channels % 16 >= 1 && channels % 16 <= 8 ? 8 : 16; }
int blocks_for(int channels) { return (channels + block_for(channels) - 1) / block_for(channels); }

class InvertedBottleneck : public IsaTest {
protected:
    struct Convolution {
        std::vector<float> plain;  // [out][in][ky][kx]
        GuardedBuffer<float> packed, bias;
    };

    /// A 1x1 convolution, packed [out block][in][lane].
    static Convolution pointwise(int in, int out, Guard guard, Random& random) {
        const int block = block_for(out), blocks = blocks_for(out);
        Convolution c;
        c.plain.resize(static_cast<std::size_t>(in * out));
        random.fill(c.plain, 0.5f);
        c.packed = GuardedBuffer<float>(static_cast<std::size_t>(blocks * block * in), guard);
        c.bias = GuardedBuffer<float>(static_cast<std::size_t>(blocks * block), guard);
        for (int o = 0; o < out; ++o) {
            c.bias[o] = random.value();
            for (int i = 0; i < in; ++i) {
                c.packed[(o / block * in + i) * block + o % block] = c.plain[static_cast<std::size_t>(o * in + i)];
            }
        }
        return c;
    }

    static Plane apply_pointwise(Plane x, const Convolution& c, int out, Act act) {
        Plane y(out, x.height, x.width);
        for (int o = 0; o < out; ++o) {
            for (int row = 0; row < x.height; ++row) {
                for (int column = 0; column < x.width; ++column) {
                    Sum sum;
                    sum.add(c.bias[o], 1);
                    for (int i = 0; i < x.channels; ++i) {
                        sum.add(x.at(i, row, column), c.plain[static_cast<std::size_t>(o * x.channels + i)]);
                    }
                    y.at(o, row, column) = activate(sum.result(), act);
                }
            }
        }
        return y;
    }

    void run(const Case& c, std::uint64_t seed) const {
        Random random(seed);
        const int padding = c.kernel_size / 2, taps = c.kernel_size * c.kernel_size;
        const int mid = c.expands ? c.mid_channels : c.in_channels;
        const int x_block = block_for(c.in_channels), x_blocks = blocks_for(c.in_channels);
        const int mid_block = block_for(mid), mid_blocks = blocks_for(mid);
        const int y_block = block_for(c.out_channels), y_blocks = blocks_for(c.out_channels);
        const int out_height = (c.height - 1) / c.stride + 1, out_width = (c.width - 1) / c.stride + 1;
        ASSERT_TRUE(!c.residual || c.stride == 1);

        // An expanded input has no gaps, since its rows are neighbours to the 1x1 convolution; else it has padding.
        const int pad = c.expands ? 0 : padding;
        const Index x_row = Index{c.width + 2 * pad} * x_block;
        const Layout x_at{x_block, x_row * c.height + 16, x_row};
        GuardedBuffer<float> x(floats_of(x_at, x_blocks, c.height, c.width + 2 * pad), c.guard);
        Plane map(c.in_channels, c.height, c.width);
        for (int i = 0; i < c.in_channels; ++i) {
            for (int row = 0; row < c.height; ++row) {
                for (int column = 0; column < c.width; ++column) {
                    const float value = random.value(2);
                    x[x_at.at(i, row, column + pad)] = value;
                    map.at(i, row, column) = {value};
                }
            }
        }
        const Convolution expand = pointwise(c.in_channels, mid, c.guard, random);
        const Convolution project = pointwise(mid, c.out_channels, c.guard, random);
        GuardedBuffer<float> depth(static_cast<std::size_t>(mid_blocks * mid_block * taps), c.guard);
        GuardedBuffer<float> depth_bias(static_cast<std::size_t>(mid_blocks * mid_block), c.guard);
        const auto depth_at = [&](int m, int tap) {
            return (Index{m} / mid_block * taps + tap) * mid_block + m % mid_block;
        };
        for (int m = 0; m < mid; ++m) {
            depth_bias[m] = random.value();
            for (int tap = 0; tap < taps; ++tap) depth[depth_at(m, tap)] = random.value();
        }

        if (c.expands) map = apply_pointwise(map, expand, mid, c.expand_act);
        Plane middle_map(mid, out_height, out_width);
        for (int m = 0; m < mid; ++m) {
            for (int row = 0; row < out_height; ++row) {
                for (int column = 0; column < out_width; ++column) {
                    Sum sum;
                    sum.add(depth_bias[m], 1);
                    for (int tap = 0; tap < taps; ++tap) {
                        const int in_row = row * c.stride + tap / c.kernel_size - padding;
                        const int in_column = column * c.stride + tap % c.kernel_size - padding;
                        if (in_row < 0 || in_row >= c.height || in_column < 0 || in_column >= c.width) continue;
                        sum.add(map.at(m, in_row, in_column), depth[depth_at(m, tap)]);
                    }
                    middle_map.at(m, row, column) = activate(sum.result(), c.depth_act);
                }
            }
        }

        // What the library hands out: see run_inverted_bottleneck.
        const int step = c.whole ? out_height : c.step_rows;
        const int window = (step - 1) * c.stride + c.kernel_size, advance = step * c.stride;
        const int ring_rows = !c.expands ? 0 : c.whole ? c.height : (window + advance - 1) / advance * advance;
        const Index pixel = Index{c.width} + 2 * padding;
        const Index ring_block = Index{ring_rows} * pixel * mid_block;
        const Index middle_block = Index{step} * out_width * mid_block;
        const auto scratch = [&](Index floats) {
            GuardedBuffer<float> buffer(static_cast<std::size_t>(floats), c.guard);
            std::fill(buffer.begin(), buffer.end(), std::numeric_limits<float>::quiet_NaN());
            return buffer;
        };
        const int ring_blocks = c.whole ? std::min(mid_blocks, 2) : mid_blocks;
        GuardedBuffer<float> ring = scratch(ring_block * ring_blocks);
        const GuardedBuffer<float> zero_row(static_cast<std::size_t>(pixel * mid_block), c.guard);
        GuardedBuffer<const float*> row_pointers(static_cast<std::size_t>(window), c.guard);
        const int slice_blocks = c.slice_blocks == 0 ? mid_blocks : std::min(c.slice_blocks, mid_blocks);
        Output middle(static_cast<std::size_t>(middle_block * slice_blocks), c.guard);

        const Index y_row = Index{out_width} * y_block + 24;
        const Layout y_at{y_block, y_row * out_height + 16, y_row};
        const Layout r_at{y_block, (y_row + 8) * out_height, y_row + 8};
        Output y(floats_of(y_at, y_blocks, out_height, out_width), c.guard);
        GuardedBuffer<float> residual(floats_of(r_at, y_blocks, out_height, out_width), c.guard);
        for (int o = 0; o < c.out_channels; ++o) {
            for (int row = 0; row < out_height; ++row) {
                for (int column = 0; column < out_width; ++column) residual[r_at.at(o, row, column)] = random.value(4);
            }
        }

        kernels::InvertedBottleneck a;
        a.x = x.data() + Index{pad} * x_block;
        a.x_block_stride = x_at.block_stride;
        a.x_row_stride = x_at.row_stride;
        a.x_block = x_block;
        a.in_channels = c.in_channels;
        a.in_height = c.height;
        a.in_width = c.width;
        if (c.expands) {
            a.expand_weights = expand.packed.data();
            a.expand_bias = expand.bias.data();
            a.expand_act = c.expand_act;
        }
        a.depth_weights = depth.data();
        a.depth_bias = depth_bias.data();
        a.depth_act = c.depth_act;
        a.kernel_size = c.kernel_size;
        a.stride = c.stride;
        a.padding = padding;
        a.mid_channels = mid;
        a.mid_block = mid_block;
        a.last_mid_block = mid_blocks;
        a.project_weights = project.packed.data();
        a.project_bias = project.bias.data();
        a.project_act = c.project_act;
        a.y_block_stride = y_at.block_stride;
        a.y_row_stride = y_at.row_stride;
        a.y_block = y_block;
        a.y_blocks = y_blocks;
        a.out_width = out_width;
        if (c.residual) {
            a.residual = residual.data();
            a.residual_block_stride = r_at.block_stride;
            a.residual_row_stride = r_at.row_stride;
        }
        a.step_rows = step;
        a.ring = ring.data();
        a.ring_block_stride = ring_block;
        a.ring_blocks = ring_blocks;
        a.ring_rows = ring_rows;
        a.slice_blocks = c.slice_blocks;
        a.middle = middle.data();
        a.middle_block_stride = middle_block;
        a.zero_row = zero_row.data();
        a.row_pointers = row_pointers.data();
        const kernels::Table& table = table_of(GetParam());

        if (c.block_parts > 0) {  // threads take blocks; what the depthwise convolution gives stays in the middle
            const Layout middle_at{mid_block, middle_block, Index{out_width} * mid_block};
            for (int m = 0; m < mid_blocks * mid_block; ++m) {
                for (int row = 0; row < out_height; ++row) {
                    for (int column = 0; column < out_width; ++column) {
                        middle.expect(middle_at.at(m, row, column),
                                      m < mid ? middle_map.at(m, row, column) : Bounded{});
                    }
                }
            }
            a.last_row = out_height;
            for (int part = 0; part < c.block_parts; ++part) {
                a.first_mid_block = mid_blocks * part / c.block_parts;
                a.last_mid_block = mid_blocks * (part + 1) / c.block_parts;
                a.middle = middle.data() + a.first_mid_block * middle_block;
                table.inverted_bottleneck(a);
            }
            ASSERT_TRUE(middle.check()) << c;
            return;
        }

        Plane out = apply_pointwise(middle_map, project, c.out_channels, c.project_act);
        a.y = y.data();
        for (int band = 0; band < c.bands; ++band) {
            a.first_row = out_height * band / c.bands;
            a.last_row = out_height * (band + 1) / c.bands;
            std::fill(ring.begin(), ring.end(), std::numeric_limits<float>::quiet_NaN());
            for (int o = 0; o < y_blocks * y_block; ++o) {
                for (int row = a.first_row; row < a.last_row; ++row) {
                    for (int column = 0; column < out_width; ++column) {
                        Bounded value = o < c.out_channels ? out.at(o, row, column) : Bounded{};
                        if (c.residual) value = add(value, {residual[r_at.at(o, row, column)]});
                        y.expect(y_at.at(o, row, column), value);
                    }
                }
            }
            table.inverted_bottleneck(a);
            ASSERT_TRUE(y.check()) << "band " << band << " of " << c;  // no other row has been written
        }
    }
};

TEST_P(InvertedBottleneck, EverySizeStepAndStride) {
    Random random(1);
    std::uint64_t seed = 0;
    for (const bool expands : {true, false}) {
        for (const int kernel_size : {1, 3, 5, 7}) {
            for (const int stride : {1, 2}) {
                for (const int height : {1, 2, 3, 4, 5, 8, 11}) {
                    for (const int step_rows : {1, 2, 3, 4}) {
                        Case c{.height = height, .width = 1 + random.below(12)};
                        c.kernel_size = kernel_size;
                        c.stride = stride;
                        c.expands = expands;
                        c.step_rows = step_rows;
                        c.residual = stride == 1 && random.below(2) == 0;
                        c.guard = random.pick({Guard::before, Guard::behind});
                        c.bands = std::min(1 + random.below(3), (height - 1) / stride + 1);
                        c.slice_blocks = random.pick({0, 2});
                        run(c, ++seed);
                        if (HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

TEST_P(InvertedBottleneck, WholeMaps) {
    Random random(2);
    std::uint64_t seed = 1000;
    for (const bool expands : {true, false}) {
        for (const int kernel_size : {3, 5}) {
            for (const int stride : {1, 2}) {
                for (const int height : {1, 2, 3, 7, 8}) {
                    for (const int block_parts : {0, 1, 2, 3}) {
                        Case c{.height = height, .width = 1 + random.below(14)};
                        c.in_channels = expands ? 17 : 40;
                        c.mid_channels = 52;
                        c.kernel_size = kernel_size;
                        c.stride = stride;
                        c.expands = expands;
                        c.whole = true;
                        c.block_parts = block_parts;
                        c.slice_blocks = block_parts == 0 ? random.pick({0, 2, 4, 6, 8}) : 0;
                        c.residual = stride == 1 && block_parts == 0 && height % 2 == 0;
                        c.guard = random.pick({Guard::before, Guard::behind});
                        run(c, ++seed);
                        if (HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

TEST_P(InvertedBottleneck, EveryChannelCount) {
    Random random(3);
    std::uint64_t seed = 2000;
    for (const int in : {1, 7, 8, 9, 16, 17, 24}) {
        for (const int mid : {1, 8, 9, 15, 16, 17, 32, 33, 48}) {
            Case c{.height = 5, .width = 6, .in_channels = in, .mid_channels = mid};
            c.out_channels = random.pick({1, 7, 8, 9, 15, 16, 17, 33});
            c.stride = 1 + random.below(2);
            c.residual = c.stride == 1;
            c.guard = random.pick({Guard::before, Guard::behind});
            run(c, ++seed);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(InvertedBottleneck, EveryActivation) {
    std::uint64_t seed = 3000;
    for (const Act act : all_acts) {
        for (const bool expands : {true, false}) {
            Case c{.expands = expands, .bands = 2, .residual = true};
            // One at a time: slopes of 9 on top of each other leave nothing of the bound.
            for (Act Case::*place : {&Case::expand_act, &Case::depth_act, &Case::project_act}) {
                Case one = c;
                one.expand_act = one.depth_act = one.project_act = Act::relu;
                one.*place = act;
                run(one, ++seed);
                if (HasFatalFailure()) return;
            }
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(InvertedBottleneck);

}  // namespace
