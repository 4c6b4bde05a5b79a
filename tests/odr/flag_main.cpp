// SPDX-License-Identifier: Apache-2.0
//
// Calls one unit of flag_matrix.py's program, the one that FLAG_UNIT names. Itself compiled without -m flags, and
// without the standard library's templates, which units share.
#include <cstdio>

extern "C" bool FLAG_UNIT(const float* x, float* y);

namespace {
float input[3 * 18 * 22], output[16 * 9 * 11];
}

int main() {
    for (int i = 0; i < 3 * 18 * 22; ++i) input[i] = static_cast<float>(i % 7);
    if (!FLAG_UNIT(input, output)) return 1;
    for (const float value : output) {
        if (!(value > 0)) return 2;
    }
    return std::puts("computed") < 0;
}
