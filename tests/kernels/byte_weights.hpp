// SPDX-License-Identifier: Apache-2.0
//
// Random weights of bytes, as kernels read them, and what they stand for.
#pragma once

#include "bounded.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

constexpr int byte_group = kernels::group_channels(kernels::Operands::int8);

/// Weights [y block][group][tap] of a row of scales and sums and a row for each word.
class ByteWeights {
public:
    ByteWeights(Random& random, int channels, int taps, int lanes, int y_block, Guard guard, bool plain = false)
        : words(static_cast<std::size_t>(kernels::weight_words(kernels::Operands::int8, channels) * taps * lanes),
                guard),
          channels_(channels),
          taps_(taps) {
        const int groups = (channels + byte_group - 1) / byte_group;
        bytes_.resize(static_cast<std::size_t>(lanes * channels * taps));
        scales_.resize(static_cast<std::size_t>(lanes * groups * taps));
        for (signed char& b : bytes_) {
            const int value = random.below(255) - 127;
            b = static_cast<signed char>(plain && random.below(2) == 0 ? (value < 0 ? -127 : 127) : value);
        }
        for (float& s : scales_) {
            const std::uint32_t bits = std::bit_cast<std::uint32_t>(plain ? 1.0f : 0.004f + random.value(0.003f));
            s = std::bit_cast<float>(bits & 0xffff0000u);
        }
        char* to = reinterpret_cast<char*>(words.data());
        for (int first_lane = 0; first_lane < lanes; first_lane += y_block) {
            for (int first = 0; first < channels; first += byte_group) {
                const int end = std::min(first + byte_group, channels);
                for (int tap = 0; tap < taps; ++tap) {
                    for (int o = first_lane; o < first_lane + y_block; ++o, to += 4) {
                        int sum = 0;
                        for (int c = first; c < end; ++c) sum += byte(o, c, tap);
                        const auto high = std::bit_cast<std::uint32_t>(scale(o, first, tap));
                        const std::uint32_t word = high | (static_cast<std::uint32_t>(sum) & 0xffffu);
                        std::memcpy(to, &word, 4);
                    }
                    for (int c = first; c < end; c += 4) {
                        for (int o = first_lane; o < first_lane + y_block; ++o) {
                            for (int i = 0; i < 4; ++i) *to++ = static_cast<char>(byte(o, c + i, tap));
                        }
                    }
                }
            }
        }
        EXPECT_EQ(to, reinterpret_cast<char*>(words.data() + words.size()));
    }
    float scale(int o, int channel, int tap) const {
        const int groups = (channels_ + byte_group - 1) / byte_group;
        return scales_[static_cast<std::size_t>((o * groups + channel / byte_group) * taps_ + tap)];
    }
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
