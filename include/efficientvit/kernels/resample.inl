// SPDX-License-Identifier: Apache-2.0
//
// Separable resampling, one output row of one block of channels: rows first, which mixes each input pixel once, then
// columns.

template <int Block>
EFFICIENTVIT_NOINLINE void resample_block(const Resample& a) {
    using V = typename Lanes<Block>::V;
    const V row_weight[4] = {V::set(a.row_weights[0]), V::set(a.row_weights[1]), V::set(a.row_weights[2]),
                             V::set(a.row_weights[3])};
    for (Index i = 0; i < Index{a.x_width} * Block; i += V::width) {
        V sum = V::mul(row_weight[0], V::load(a.rows[0] + i));
        EFFICIENTVIT_UNROLL
        for (int t = 1; t < 4; ++t) sum = V::fma(row_weight[t], V::load(a.rows[t] + i), sum);
        sum.store(a.mixed + i);
    }
    for (int column = 0; column < a.y_width; ++column) {
        const int* const taps = a.column_taps + Index{column} * 4;
        const float* const weights = a.column_weights + Index{column} * 4;
        for (int lane = 0; lane < Block; lane += V::width) {
            const float* const mixed = a.mixed + lane;
            V sum = V::mul(V::broadcast(weights), V::load(mixed + Index{taps[0]} * Block));
            EFFICIENTVIT_UNROLL
            for (int t = 1; t < 4; ++t) {
                sum = V::fma(V::broadcast(weights + t), V::load(mixed + Index{taps[t]} * Block), sum);
            }
            const Index at = Index{column} * Block + lane;
            if (a.residual != nullptr) sum = V::add(sum, V::load(a.residual + at));
            sum.store(a.y + at);
        }
    }
}

inline void resample(const Resample& a) { a.block == 16 ? resample_block<16>(a) : narrow::resample_block<8>(a); }
