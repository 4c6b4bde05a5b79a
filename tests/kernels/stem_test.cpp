// SPDX-License-Identifier: Apache-2.0
//
// Table::stem against the definition: every width, so that tiles meet both edges of the image in every way, and images
// that end where memory ends.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

namespace {

class Stem : public IsaTest {
protected:
    void run(int x_width, int channels, int y_block, int out_channels, Act act, unsigned missing, Guard guard,
             std::uint64_t seed) const {
        Random random(seed);
        const int y_width = (x_width + 1) / 2, y_blocks = (out_channels + y_block - 1) / y_block;
        GuardedBuffer<float> x(static_cast<std::size_t>(channels * 3 * x_width), guard);
        random.fill(x, 2);
        GuardedBuffer<float> weights(static_cast<std::size_t>(y_blocks * channels * 9 * y_block), guard);
        random.fill(weights);
        GuardedBuffer<float> bias(static_cast<std::size_t>(y_blocks * y_block), guard);
        random.fill(bias, 2);
        const Layout y_at{y_block, Index{y_width} * y_block + 24, 0};
        Output y(floats_of(y_at, y_blocks, 1, y_width), guard);
        for (int o = 0; o < y_blocks * y_block; ++o) {
            for (int column = 0; column < y_width; ++column) {
                Sum sum;
                sum.add(bias[o], 1);
                for (int i = 0; i < channels * 9; ++i) {
                    const int c = i / 9, ky = i / 3 % 3, in = 2 * column + i % 3 - 1;
                    if ((missing >> ky & 1) != 0 || in < 0 || in >= x_width) continue;
                    sum.add(x[(c * 3 + ky) * x_width + in],
                            weights[((Index{o} / y_block * channels * 9 + i) * y_block) + o % y_block]);
                }
                y.expect(y_at.at(o, 0, column), activate(sum.result(), act));
            }
        }

        kernels::Stem a;
        for (int ky = 0; ky < 3; ++ky) {
            if ((missing >> ky & 1) == 0) a.rows[ky] = x.data() + ky * x_width;
        }
        a.x_plane_stride = Index{3} * x_width;
        a.x_width = x_width;
        a.channels = channels;
        a.weights = weights.data();
        a.bias = bias.data();
        a.y = y.data();
        a.y_block_stride = y_at.block_stride;
        a.y_block = y_block;
        a.y_blocks = y_blocks;
        a.y_width = y_width;
        a.act = act;
        table_of(GetParam()).stem(a);
        ASSERT_TRUE(y.check()) << "x_width " << x_width << ", channels " << channels << ", y_block " << y_block
                               << ", act " << static_cast<int>(act) << ", missing rows " << missing;
    }
};

TEST_P(Stem, EveryWidth) {
    Random random(1);
    std::uint64_t seed = 0;
    for (int width = 1; width <= 70; ++width) {
        for (const int channels : {1, 2, 3, 4}) {
            for (const int block : {8, 16}) {
                const unsigned missing = random.below(2) == 0 ? 0u : random.pick({1u, 4u, 5u, 2u});
                run(width, channels, block, 1 + random.below(2 * block),
                    random.pick({Act::none, Act::relu, Act::hswish}), missing,
                    random.pick({Guard::before, Guard::behind}), ++seed);
                if (HasFatalFailure()) return;
            }
        }
    }
}

TEST_P(Stem, EveryActivation) {
    std::uint64_t seed = 1000;
    for (const Act act : all_acts) {
        for (const int block : {8, 16}) {
            for (const Guard guard : {Guard::before, Guard::behind}) {
                run(37, 3, block, block + 1, act, 0, guard, ++seed);
                if (HasFatalFailure()) return;
            }
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Stem);

}  // namespace
