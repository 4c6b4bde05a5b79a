// SPDX-License-Identifier: Apache-2.0
//
// Rows of a mask on its way to a picture's size. Included by row_kernels.hpp once for each width of vectors, inside
// its region and namespace.

#if EFFICIENTVIT_LANES > 1
EFFICIENTVIT_INLINE int sum(Ints v) {
    int out = 0;
    for (int i = 0; i < EFFICIENTVIT_LANES; ++i) out += v[i];
    return out;
}

#if EFFICIENTVIT_LANES >= 8
EFFICIENTVIT_INLINE __m256 gather8(const float* x, const int* at) {
    return _mm256_i32gather_ps(x, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), 4);
}
#endif

EFFICIENTVIT_INLINE Floats gather(const float* x, const int* at) {
#if EFFICIENTVIT_LANES == 16
    // Two halves: GCC's header warns of its own wide gather, which loads as many values at a time anyway.
    return static_cast<Floats>(_mm512_insertf32x8(_mm512_castps256_ps512(gather8(x, at)), gather8(x, at + 8), 1));
#elif EFFICIENTVIT_LANES == 8
    return static_cast<Floats>(gather8(x, at));
#else
    return Floats{x[at[0]], x[at[1]], x[at[2]], x[at[3]]};
#endif
}
#endif

inline void expand_mask_row(const ExpandMaskRow& a) {
    int i = a.begin;
#if EFFICIENTVIT_LANES > 1
    for (; i + EFFICIENTVIT_LANES <= a.end; i += EFFICIENTVIT_LANES) {
        store(a.y + i, gather(a.x, a.taps.first + i) * load(a.taps.weight0 + i) +
                           gather(a.x, a.taps.second + i) * load(a.taps.weight1 + i));
    }
#endif
    for (; i < a.end; ++i) {
        a.y[i] = a.x[a.taps.first[i]] * a.taps.weight0[i] + a.x[a.taps.second[i]] * a.taps.weight1[i];
    }
}

inline void mix_mask_rows(const MixMaskRows& a) {
    int i = a.begin;
#if EFFICIENTVIT_LANES > 1
    const Floats w0 = all(a.weight0), w1 = all(a.weight1);
    for (; i + EFFICIENTVIT_LANES <= a.end; i += EFFICIENTVIT_LANES) {
        store(a.y + i, load(a.x0 + i) * w0 + load(a.x1 + i) * w1);
    }
#endif
    for (; i < a.end; ++i) a.y[i] = a.x0[i] * a.weight0 + a.x1[i] * a.weight1;
}

inline void threshold_mask_row(ThresholdMaskRow& a) {
    int i = a.rows.begin, area = 0, inner = 0, outer = 0;
#if EFFICIENTVIT_LANES > 1
    const Floats w0 = all(a.rows.weight0), w1 = all(a.rows.weight1);
    const Floats threshold = all(a.threshold), high = all(a.high), low = all(a.low);
    Ints areas{}, inners{}, outers{};
    for (; i + EFFICIENTVIT_LANES <= a.rows.end; i += EFFICIENTVIT_LANES) {
        const Floats v = load(a.rows.x0 + i) * w0 + load(a.rows.x1 + i) * w1;
        if (a.rows.y != nullptr) store(a.rows.y + i, v);
        const Ints set = v > threshold;  // -1 where it is
        areas -= set;
        inners -= v > high;
        outers -= v > low;
        const Bytes bytes = -__builtin_convertvector(set, Bytes);
        EFFICIENTVIT_COPY(a.pixels + i, &bytes, sizeof(bytes));
        Bytes columns;
        EFFICIENTVIT_COPY(&columns, a.columns + i, sizeof(columns));
        columns |= bytes;
        EFFICIENTVIT_COPY(a.columns + i, &columns, sizeof(columns));
    }
    area = sum(areas);
    inner = sum(inners);
    outer = sum(outers);
#endif
    for (; i < a.rows.end; ++i) {
        const float v = a.rows.x0[i] * a.rows.weight0 + a.rows.x1[i] * a.rows.weight1;
        if (a.rows.y != nullptr) a.rows.y[i] = v;
        a.pixels[i] = v > a.threshold ? 1 : 0;
        a.columns[i] = static_cast<unsigned char>(a.columns[i] | a.pixels[i]);
        area += a.pixels[i];
        inner += v > a.high ? 1 : 0;
        outer += v > a.low ? 1 : 0;
    }
    a.area = area;
    a.inner = inner;
    a.outer = outer;
}
