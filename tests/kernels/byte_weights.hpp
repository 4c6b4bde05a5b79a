// SPDX-License-Identifier: Apache-2.0
//
// Random weights of bytes, as kernels read them, and what they stand for.
#pragma once

#include "bounded.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

constexpr int byte_group = kernels::group_channels(kernels::Operands::int8);

/// Weights [y block] of [group][tap] of a row of sums and a row for each word, and of a row of scales.
class ByteWeights {
public:
    ByteWeights(Random& random, int channels, int taps, int lanes, int y_block, Guard guard, bool plain = false)
        : words(static_cast<std::size_t>(kernels::panel_words(kernels::Operands::int8, channels, taps) * lanes), guard),
          channels_(channels),
          taps_(taps) {
        bytes_.resize(static_cast<std::size_t>(lanes * channels * taps));
        scales_.resize(static_cast<std::size_t>(lanes));
        for (signed char& b : bytes_) {
            const int value = random.below(255) - 127;
            b = static_cast<signed char>(plain && random.below(2) == 0 ? (value < 0 ? -127 : 127) : value);
        }
        for (float& s : scales_) s = plain ? 1.0f : 0.004f + random.value(0.003f);
        char* to = reinterpret_cast<char*>(words.data());
        for (int first_lane = 0; first_lane < lanes; first_lane += y_block) {
            for (int first = 0; first < channels; first += byte_group) {
                const int end = std::min(first + byte_group, channels);
                for (int tap = 0; tap < taps; ++tap) {
                    for (int o = first_lane; o < first_lane + y_block; ++o, to += 4) {
                        int sum = 0;
                        for (int c = first; c < end; ++c) sum += byte(o, c, tap);
                        std::memcpy(to, &sum, 4);
                    }
                    for (int c = first; c < end; c += 4) {
                        for (int o = first_lane; o < first_lane + y_block; ++o) {
                            for (int i = 0; i < 4; ++i) *to++ = static_cast<char>(byte(o, c + i, tap));
                        }
                    }
                }
            }
            std::memcpy(to, scales_.data() + first_lane, static_cast<std::size_t>(y_block) * 4);
            to += y_block * 4;
        }
        EXPECT_EQ(to, reinterpret_cast<char*>(words.data() + words.size()));
    }
    float scale(int o) const { return scales_[static_cast<std::size_t>(o)]; }
    int byte(int o, int channel, int tap) const {
        return channel >= channels_ ? 0 : bytes_[static_cast<std::size_t>((o * channels_ + channel) * taps_ + tap)];
    }
    int channels() const { return channels_; }
    GuardedBuffer<float> words;

private:
    int channels_, taps_;
    std::vector<signed char> bytes_;
    std::vector<float> scales_;
};
