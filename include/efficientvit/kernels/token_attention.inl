// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention between a few tokens and the many places of an image. Its products are pointwise's (tokens are the
// weights, or their rows); here is what lies between these.

template <int Block>
EFFICIENTVIT_NOINLINE void softmax_pixels_blocks(const SoftmaxPixels& a) {
    using V = typename Lanes<Block>::V;
    constexpr int chains = 4;
    for (int at = 0; at < a.blocks * Block; at += V::width) {
        float* const scores = a.scores + at / Block * a.block_stride + at % Block;
        V largest[chains], sum[chains];
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < chains; ++i) {
            largest[i] = V::load(scores);
            sum[i] = V::set(0.0f);
        }
        int p = 0;
        for (; p + chains <= a.pixels; p += chains) {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < chains; ++i) largest[i] = V::max(largest[i], V::load(scores + (p + i) * Block));
        }
        for (; p < a.pixels; ++p) largest[0] = V::max(largest[0], V::load(scores + p * Block));
        const V most = V::max(V::max(largest[0], largest[1]), V::max(largest[2], largest[3]));
        for (p = 0; p + chains <= a.pixels; p += chains) {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < chains; ++i) {
                const V power = exponential(V::sub(V::load(scores + (p + i) * Block), most));
                power.store(scores + (p + i) * Block);
                sum[i] = V::add(sum[i], power);
            }
        }
        for (; p < a.pixels; ++p) {
            const V power = exponential(V::sub(V::load(scores + p * Block), most));
            power.store(scores + p * Block);
            sum[0] = V::add(sum[0], power);
        }
        most.store(a.largest + at);
        V::add(V::add(sum[0], sum[1]), V::add(sum[2], sum[3])).store(a.sums + at);
    }
}

inline void softmax_pixels(const SoftmaxPixels& a) { softmax_pixels_blocks<16>(a); }

// Eight heads are half a block, so this is code for blocks of eight.
template <int Heads>
EFFICIENTVIT_NOINLINE void softmax_tokens_pixels(const SoftmaxTokens& a) {
    using V = typename Lanes<Heads>::V;
    for (int head = 0; head < a.heads; head += V::width) {
        for (int p = 0; p < a.pixels; ++p) {
            float* const scores = a.scores + Index{p} * 16;
            V largest = V::load(scores + head / 16 * a.block_stride + head % 16);
            for (int row = head + a.heads; row < a.tokens * a.heads; row += a.heads) {
                largest = V::max(largest, V::load(scores + row / 16 * a.block_stride + row % 16));
            }
            V sum = V::set(0.0f);
            for (int row = head; row < a.tokens * a.heads; row += a.heads) {
                float* const at = scores + row / 16 * a.block_stride + row % 16;
                const V power = exponential(V::sub(V::load(at), largest));
                power.store(at);
                sum = V::add(sum, power);
            }
            const V scale = V::div(V::set(1.0f), sum);
            for (int row = head; row < a.tokens * a.heads; row += a.heads) {
                float* const at = scores + row / 16 * a.block_stride + row % 16;
                V::mul(V::load(at), scale).store(at);
            }
        }
    }
}

inline void softmax_tokens(const SoftmaxTokens& a) { narrow::softmax_tokens_pixels<8>(a); }

template <int Block>
EFFICIENTVIT_NOINLINE void weighted_sums_blocks(const WeightedSums& a) {
    constexpr int most = Lanes<Block>::tile_outer;
    for (int b = 0; b < a.x_blocks; ++b) {
        float* const y = a.y + b * a.y_block_stride;
        for (Index i = 0; i < Index{a.rows} * Block; ++i) y[i] = 0.0f;
        const float* const x = a.x + b * a.x_block_stride;
        for (int first = 0; first < a.rows; first += Block) {
            const float* const w = a.weights + first / Block * a.weights_block_stride;
            float* const out = y + Index{first} * Block;
            const int rows = a.rows - first < Block ? a.rows - first : Block;
            int e = 0;
            for (; e + most <= rows; e += most) outer_products<Block, most>(w + e, x, a.pixels, out + e * Block);
            if constexpr (most > 8) {
                for (; e + 8 <= rows; e += 8) outer_products<Block, 8>(w + e, x, a.pixels, out + e * Block);
            }
            for (; e + 4 <= rows; e += 4) outer_products<Block, 4>(w + e, x, a.pixels, out + e * Block);
            for (; e < rows; ++e) outer_products<Block, 1>(w + e, x, a.pixels, out + e * Block);
        }
    }
}

inline void weighted_sums(const WeightedSums& a) { weighted_sums_blocks<16>(a); }

// The products of one mask for `count` pixels, V::width of them where Whole; else the last one stands for those beyond.
template <int Block, bool Whole>
EFFICIENTVIT_INLINE void mask_product_pixels(const MaskProduct& a, int first, int count, int mask) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    V dot[V::width];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < V::width; ++i) dot[i] = V::set(0.0f);
    for (int b = 0; b < a.x_blocks; ++b) {
        const float* const x = a.x + b * a.x_block_stride + Index{first} * Block;
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) {
            const V weight = V::load(a.hyper + (mask * a.x_blocks + b) * Block + j * V::width);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < V::width; ++i) {
                const int at = Whole || i < count ? i : count - 1;
                dot[i] = V::fma(V::load(x + at * Block + j * V::width), weight, dot[i]);
            }
        }
    }
    float values[V::width];
    V::sums(dot).store(values);
    float* const y = a.y + mask * a.y_mask_stride + Index{first} * a.y_stride;
    for (int i = 0; i < count; ++i) y[Index{i} * a.y_stride] = values[i];
}

template <int Block>
EFFICIENTVIT_NOINLINE void mask_product_blocks(const MaskProduct& a) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    for (int first = 0; first < a.pixels; first += V::width) {
        const int count = a.pixels - first < V::width ? a.pixels - first : V::width;
        for (int b = 0; b < a.x_blocks; ++b) {
            float* const x = a.x + b * a.x_block_stride + Index{first} * Block;
            for (int i = 0; i < count * vectors; ++i) gelu_by_erf(V::load(x + i * V::width)).store(x + i * V::width);
        }
        for (int mask = 0; mask < a.masks; ++mask) {
            if (count == V::width) {
                mask_product_pixels<Block, true>(a, first, count, mask);
            } else {
                mask_product_pixels<Block, false>(a, first, count, mask);
            }
        }
    }
}

inline void mask_product(const MaskProduct& a) { mask_product_blocks<16>(a); }
