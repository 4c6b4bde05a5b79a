// SPDX-License-Identifier: Apache-2.0
//
// Float to bf16, brought into the order in which products read it: channels in groups of 32, a cache line a pixel.

template <int Block>
EFFICIENTVIT_NOINLINE void round_blocks(const Round& a) {
    using V = typename Lanes<Block>::V;
    constexpr int stores = group_words / V::width;  // of a pixel
    constexpr int blocks = group_channels / Block;  // of a group
    float* y_group = a.y;
    for (int first = 0; first < a.x_blocks; first += blocks, y_group += a.y_group_stride) {
        float* y = y_group;
        for (int row = 0; row < a.rows; ++row) {
            const float* x = a.x + first * a.x_block_stride + row * a.x_row_stride;
            for (int p = 0; p < a.width; ++p, x += Block, y += group_words) {
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < stores; ++i) {
                    V half[2];
                    EFFICIENTVIT_UNROLL
                    for (int h = 0; h < 2; ++h) {
                        const int lane = (2 * i + h) * V::width;
                        const bool there = first + lane / Block < a.x_blocks;
                        half[h] = there ? V::load(x + lane / Block * a.x_block_stride + lane % Block) : V::set(0.0f);
                    }
                    if (a.act != Act::none) {
                        EFFICIENTVIT_UNROLL
                        for (int h = 0; h < 2; ++h) half[h] = rough_activation(half[h], a.act);
                    }
                    rounded_pairs(half[0], half[1]).store(y + i * V::width);
                }
            }
        }
    }
}

template <Operands O>
inline void round_to_bf16(const Round& a) {
    a.x_block == 16 ? round_blocks<16>(a) : narrow::round_blocks<8>(a);
}
