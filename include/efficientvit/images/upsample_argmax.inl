// SPDX-License-Identifier: Apache-2.0
//
// One row of labels from class planes at a coarser size: bicubic across and down, and the largest class, without the
// row's full-size values ever being in memory. Included by row_kernels.hpp once for each width of vectors, inside
// its region and namespace.

// The four input rows blended into one row of each class, with the edge values repeated twice on either side.
EFFICIENTVIT_INLINE void blend_rows(const UpsampleArgmaxRow& a) {
    constexpr int lanes = sizeof(Floats) / sizeof(float);
    const Floats w0 = all(a.row_weights[0]), w1 = all(a.row_weights[1]), w2 = all(a.row_weights[2]),
                 w3 = all(a.row_weights[3]);
    for (int c = 0; c < a.classes; ++c) {
        const float* const plane = a.logits + c * a.plane;
        const float *const r0 = plane + a.rows[0], *const r1 = plane + a.rows[1], *const r2 = plane + a.rows[2],
                           *const r3 = plane + a.rows[3];
        float* const out = a.blended + c * (Index{a.width} + 4) + 2;
        int x = 0;
        for (; x + lanes <= a.width; x += lanes) {
            const Floats v = load(r0 + x) * w0 + load(r1 + x) * w1 + load(r2 + x) * w2 + load(r3 + x) * w3;
            store(out + x, v);
        }
        for (; x < a.width; ++x) {
            out[x] = r0[x] * a.row_weights[0] + r1[x] * a.row_weights[1] + r2[x] * a.row_weights[2] +
                     r3[x] * a.row_weights[3];
        }
        out[-2] = out[-1] = out[0];
        out[a.width] = out[a.width + 1] = out[a.width - 1];
    }
}

inline void upsample_argmax_row(const UpsampleArgmaxRow& a) {
    constexpr int lanes = sizeof(Floats) / sizeof(float);
    constexpr int parts = UpsampleSpan::pixels / lanes;
    blend_rows(a);
    for (int s = 0; s < a.spans; ++s) {
        const UpsampleSpan& span = a.span[s];
        Floats w[4][parts], best[parts];
        Ints label[parts];
        for (int i = 0; i < parts; ++i) {
            for (int k = 0; k < 4; ++k) w[k][i] = load(span.weights[k] + i * lanes);
        }
        const float* p = a.blended + span.source;
        for (int i = 0; i < parts; ++i) {
            best[i] = w[0][i] * p[0] + w[1][i] * p[1] + w[2][i] * p[2] + w[3][i] * p[3];
            label[i] = Ints{};
        }
        for (int c = 1; c < a.classes; ++c) {
            p += a.width + 4;
            for (int i = 0; i < parts; ++i) {
                const Floats value = w[0][i] * p[0] + w[1][i] * p[1] + w[2][i] * p[2] + w[3][i] * p[3];
                label[i] = value > best[i] ? Ints{} + c : label[i];
                best[i] = value > best[i] ? value : best[i];
            }
        }
        int labels[UpsampleSpan::pixels];
        EFFICIENTVIT_COPY(labels, label, sizeof(labels));
        unsigned char* const out = a.labels + span.begin;
        if (span.count == UpsampleSpan::pixels) {
            for (int i = 0; i < UpsampleSpan::pixels; ++i) out[i] = static_cast<unsigned char>(labels[i]);
        } else {
            for (int i = 0; i < span.count; ++i) out[i] = static_cast<unsigned char>(labels[i]);
        }
    }
}
