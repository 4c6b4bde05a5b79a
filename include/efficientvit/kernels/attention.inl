// SPDX-License-Identifier: Apache-2.0
//
// ReLU attention of one head, always in float: half precision overflows in these sums. Linear form: k v^T is a sum of
// outer products over the pixels, kept in registers; the answer for a pixel is then a small matrix times q. Quadratic
// form, for maps of at most `dim` pixels: all pairs of pixels.

// acc[e] += key[e] * value from row e on; key[i] are four rows.
template <class V, int Vectors, int Count, int Row, int Keys>
EFFICIENTVIT_INLINE void add_outer_rows(V (&acc)[Count * Vectors], const V (&key)[Keys], const V (&value)[Vectors]) {
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < Vectors; ++j) {
        V& sum = acc[Row * Vectors + j];
        sum = V::template fma_element<Row % 4>(value[j], key[Row / 4], sum);
    }
    if constexpr (Row + 1 < Count) add_outer_rows<V, Vectors, Count, Row + 1>(acc, key, value);
}

// vk[e][lane] += k[pixel][e] * v[pixel][lane] for Count rows e: the outer-product twin of multiply_accumulate.
template <int Block, int Count>
EFFICIENTVIT_NOINLINE void outer_products(const float* k, const float* v, int pixels, float* vk) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    V acc[Count * vectors];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count * vectors; ++i) acc[i] = V::load(vk + i * V::width);
    for (int p = 0; p < pixels; ++p) {
        V value[vectors];
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) value[j] = V::load(v + j * V::width);
        if constexpr (MultipliesByElement<V> && Count > 1) {
            constexpr int keys = (Count + 3) / 4;  // vectors, of lanes of the block beyond the last row too
            V key[keys];
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < keys; ++i) key[i] = V::load(k + i * 4);
            add_outer_rows<V, vectors, Count, 0>(acc, key, value);
        } else {
            EFFICIENTVIT_UNROLL
            for (int e = 0; e < Count; ++e) {
                const V key = V::broadcast(k + e);
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) acc[e * vectors + j] = V::fma(key, value[j], acc[e * vectors + j]);
            }
        }
        k += Block;
        v += Block;
    }
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count * vectors; ++i) acc[i].store(vk + i * V::width);
}

// total[lane] += x[pixel][lane], in four chains.
template <int Block>
EFFICIENTVIT_INLINE void sum_pixels(const float* x, int pixels, float* total) {
    using V = typename Lanes<Block>::V;
    for (int lane = 0; lane < Block; lane += V::width) {
        V sum[4] = {V::load(total + lane), V::set(0.0f), V::set(0.0f), V::set(0.0f)};
        const float* at = x + lane;
        int p = 0;
        for (; p + 4 <= pixels; p += 4, at += 4 * Block) {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < 4; ++i) sum[i] = V::add(sum[i], V::load(at + i * Block));
        }
        for (; p < pixels; ++p, at += Block) sum[0] = V::add(sum[0], V::load(at));
        V::add(V::add(sum[0], sum[1]), V::add(sum[2], sum[3])).store(total + lane);
    }
}

// v k^T into vk, [block of v][dim of k][lane of v], and the sums of k, [block of k][lane], which are zeros before.
template <int Block>
EFFICIENTVIT_INLINE void sum_keys_and_values(const Attention& a, int blocks, float* vk, float* key_sums) {
    constexpr int most = Lanes<Block>::tile_outer;
    // Sums over this many pixels at a time are added to the total: shorter chains lose fewer digits, and what they
    // read stays in the first cache.
    constexpr int run = 128;
    for (int first = 0; first < a.pixels; first += run) {
        const int pixels = a.pixels - first < run ? a.pixels - first : run;
        for (int kb = 0; kb < blocks; ++kb) {
            const float* k = a.k + kb * a.block_stride + Index{first} * Block;
            sum_pixels<Block>(k, pixels, key_sums + kb * Block);
            const int lanes = a.dim - kb * Block < Block ? a.dim - kb * Block : Block;
            for (int vb = 0; vb < blocks; ++vb) {
                const float* v = a.v + vb * a.block_stride + Index{first} * Block;
                float* out = vk + (Index{vb} * a.dim + kb * Block) * Block;
                int e = 0;
                for (; e + most <= lanes; e += most) outer_products<Block, most>(k + e, v, pixels, out + e * Block);
                for (; e + 4 <= lanes; e += 4) outer_products<Block, 4>(k + e, v, pixels, out + e * Block);
                for (; e < lanes; ++e) outer_products<Block, 1>(k + e, v, pixels, out + e * Block);
            }
        }
    }
}

// One over the denominators, [pixel] and up to a vector beyond: a vector of pixels at a time; beyond the last one
// stands the last one again.
template <int Block>
EFFICIENTVIT_INLINE void invert_denominators(const Attention& a, int blocks, const float* key_sums, float* inverse) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    for (int first = 0; first < a.pixels; first += V::width) {
        V dot[V::width];
        if constexpr (MultipliesByElement<V>) {
            // The same in another order of loops: sums of keys are loaded once for all.
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < V::width; ++i) dot[i] = V::set(0.0f);
            const float *sums = key_sums, *from = a.q + Index{first} * Block;
            for (int left = blocks; left > 0; --left, sums += Block, from += a.block_stride) {
                V keys[vectors];
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) keys[j] = V::load(sums + j * V::width);
                const float *q = from, *const last = q + Index{a.pixels - 1 - first} * Block;
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < V::width; ++i) {
                    EFFICIENTVIT_HOLD("r", q);
                    EFFICIENTVIT_UNROLL
                    for (int j = 0; j < vectors; ++j) dot[i] = V::fma(V::load(q + j * V::width), keys[j], dot[i]);
                    if (q != last) q += Block;
                }
            }
            V::div(V::set(1.0f), V::add(V::sums(dot), V::set(a.eps))).store(inverse + first);
            continue;
        }
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < V::width; ++i) {
            const int p = first + i < a.pixels ? first + i : a.pixels - 1;
            dot[i] = V::set(0.0f);
            for (int kb = 0; kb < blocks; ++kb) {
                const float* q = a.q + kb * a.block_stride + Index{p} * Block;
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) {
                    dot[i] = V::fma(V::load(q + j * V::width), V::load(key_sums + kb * Block + j * V::width), dot[i]);
                }
            }
        }
        V::div(V::set(1.0f), V::add(V::sums(dot), V::set(a.eps))).store(inverse + first);
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void linear_attention_block(const Attention& a) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    const int blocks = (a.dim + Block - 1) / Block;
    float* const vk = a.scratch;
    float* const key_sums = vk + Index{blocks} * Block * a.dim;
    float* const bias = key_sums + Index{blocks} * Block;  // [lane], zeros
    float* const inverse = bias + Block;
    for (Index i = 0; i < inverse - vk; ++i) vk[i] = 0.0f;
    sum_keys_and_values<Block>(a, blocks, vk, key_sums);
    invert_denominators<Block>(a, blocks, key_sums, inverse);

    Pointwise apply;
    apply.x = a.q;
    apply.x_block_stride = a.block_stride;
    apply.x_block = Block;
    apply.channels = a.dim;
    apply.y_row_stride = Index{a.pixels} * Block;
    apply.y_block = Block;
    apply.y_blocks = 1;
    apply.y_width = a.pixels;
    apply.pixels = a.pixels;
    apply.bias = bias;
    for (int vb = 0; vb < blocks; ++vb) {
        apply.weights = vk + Index{vb} * a.dim * Block;
        apply.y = a.y + vb * a.y_block_stride;
        pointwise<Operands::f32>(apply);
        for (int p = 0; p < a.pixels; ++p) {
            const V scale = V::broadcast(inverse + p);
            float* y = apply.y + Index{p} * Block;
            if constexpr (MultipliesByElement<V>) EFFICIENTVIT_HOLD("r", y);
            V x[vectors];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) x[j] = V::mul(V::load(y + j * V::width), scale);
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) x[j].store(y + j * V::width);
        }
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void quadratic_attention_block(const Attention& a) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    const int blocks = (a.dim + Block - 1) / Block;
    float* const scores = a.scratch;  // of all keys for one query
    for (int p = 0; p < a.pixels; ++p) {
        float sum = 0.0f;
        for (int i = 0; i < a.pixels; ++i) {
            V dot = V::set(0.0f);
            for (int b = 0; b < blocks; ++b) {
                const float* q = a.q + b * a.block_stride + Index{p} * Block;
                const float* k = a.k + b * a.block_stride + Index{i} * Block;
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) {
                    dot = V::fma(V::load(q + j * V::width), V::load(k + j * V::width), dot);
                }
            }
            scores[i] = V::sum(dot);
            sum += scores[i];
        }
        for (int i = 0; i < a.pixels; ++i) scores[i] /= sum + a.eps;
        for (int b = 0; b < blocks; ++b) {
            V acc[vectors];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) acc[j] = V::set(0.0f);
            for (int i = 0; i < a.pixels; ++i) {
                const V score = V::broadcast(scores + i);
                const float* v = a.v + b * a.block_stride + Index{i} * Block;
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) acc[j] = V::fma(score, V::load(v + j * V::width), acc[j]);
            }
            float* y = a.y + b * a.y_block_stride + Index{p} * Block;
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) acc[j].store(y + j * V::width);
        }
    }
}

inline void linear_attention(const Attention& a) {
    if (a.block == 16) {
        linear_attention_block<16>(a);
    } else {
        narrow::linear_attention_block<8>(a);
    }
}

inline void quadratic_attention(const Attention& a) {
    if (a.block == 16) {
        quadratic_attention_block<16>(a);
    } else {
        narrow::quadratic_attention_block<8>(a);
    }
}
