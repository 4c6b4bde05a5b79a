// SPDX-License-Identifier: Apache-2.0
//
// Schedules by themselves: what is decided for layers of the published networks, on cores of several kinds, and what
// holds for any of them. That no decision changes a result is determinism_test.cpp's and numerics_test.cpp's.
#include <efficientvit/nn/winograd_schedule.hpp>

#include <gtest/gtest.h>

#include <ostream>

namespace {

namespace ev = efficientvit;
using ev::detail::AttentionSchedule;
using ev::detail::AttentionSizes;
using ev::detail::blocked_map;
using ev::detail::Core;
using ev::detail::FeatureMap;
using ev::detail::FusedBottleneckSchedule;
using ev::detail::Index;
using ev::detail::InvertedBottleneckSchedule;
using ev::detail::InvertedBottleneckSizes;
using ev::detail::Machine;
using ev::detail::WinogradSchedule;
using ev::kernels::Operands;

constexpr Core small_core{256 << 10, 8 << 20, 2}, large_core{2 << 20, 32 << 20, 2};
// Raspberry Pi 4: four cores, one cache; little cores of a phone.
constexpr Core cluster{1 << 20, 0, 1, 4}, little_cluster{128 << 10, 0, 1, 2};

struct MBConvCase {
    const char* name;
    int batch, in, size, ratio, out, stride, workers;
    Operands operands;
    Core core;
    // Expected.
    bool by_blocks;
    int bands, step_rows, ring_rows, ring_blocks, slice_blocks, middles;
};

std::ostream& operator<<(std::ostream& out, const MBConvCase& c) { return out << c.name; }

InvertedBottleneckSchedule schedule_of(const MBConvCase& c) {
    const InvertedBottleneckSizes layer{c.ratio > 1, c.in * c.ratio, 3, c.stride};
    const int size = (c.size + c.stride - 1) / c.stride;
    return schedule(layer, blocked_map(c.batch, c.in, {c.size, c.size}, c.ratio > 1 ? 0 : 1),
                    blocked_map(c.batch, c.out, {size, size}, 0), {c.workers, c.operands, c.core});
}

class InvertedBottleneckSchedules : public testing::TestWithParam<MBConvCase> {};

TEST_P(InvertedBottleneckSchedules, AreDecidedFromSizes) {
    const MBConvCase& c = GetParam();
    const InvertedBottleneckSchedule s = schedule_of(c);
    EXPECT_EQ(s.by_blocks, c.by_blocks);
    EXPECT_EQ(s.bands, c.bands);
    EXPECT_EQ(s.step_rows, c.step_rows);
    EXPECT_EQ(s.ring_rows, c.ring_rows);
    EXPECT_EQ(s.ring_blocks, c.ring_blocks);
    EXPECT_EQ(s.slice_blocks, c.slice_blocks);
    EXPECT_EQ(s.middles, c.middles);
}

constexpr Operands f32 = Operands::f32, bf16 = Operands::bf16;
INSTANTIATE_TEST_SUITE_P(
    , InvertedBottleneckSchedules,
    testing::Values(
        // Rows of a large map, as many as wait in the second-level cache; the ring takes whole steps, and fits too.
        MBConvCase{"b0 stem DSConv", 1, 8, 112, 1, 8, 1, 1, f32, large_core, false, 1, 56, 0, 1, 2, 1},
        MBConvCase{"b0 1.0", 1, 8, 112, 4, 16, 2, 1, f32, large_core, false, 1, 8, 32, 2, 2, 1},
        MBConvCase{"b0 1.0, small cache", 1, 8, 112, 4, 16, 2, 1, f32, small_core, false, 1, 4, 16, 2, 2, 1},
        // One thread has a cluster's cache for itself, each of four a quarter of it.
        MBConvCase{"b0 1.0, cluster", 1, 8, 112, 4, 16, 2, 1, f32, cluster, false, 1, 8, 32, 2, 2, 1},
        MBConvCase{"b0 1.0, cluster, 4 threads", 1, 8, 112, 4, 16, 2, 4, f32, cluster, false, 4, 4, 16, 2, 2, 4},
        MBConvCase{"b0 1.0, little cores, 2 threads", 1, 8, 112, 4, 16, 2, 2, f32, little_cluster, false, 2, 2, 8, 2, 2,
                   2},
        // Threads take bands of rows: as many as there are threads, since edges are expanded twice.
        MBConvCase{"b0 1.0, 4 threads", 1, 8, 112, 4, 16, 2, 4, f32, large_core, false, 4, 14, 29, 2, 2, 4},
        // A small map in one step, and threads take blocks of channels.
        MBConvCase{"b0 4.1", 1, 128, 7, 4, 128, 1, 1, f32, large_core, false, 1, 7, 7, 2, 32, 1},
        MBConvCase{"b0 4.1, 2 threads", 1, 128, 7, 4, 128, 1, 2, f32, large_core, true, 1, 7, 7, 2, 32, 1},
        // A batch is enough work for threads.
        MBConvCase{"b0 4.1, 2 threads, batch 2", 2, 128, 7, 4, 128, 1, 2, f32, large_core, false, 1, 7, 7, 2, 32, 2},
        // Heavy weights: slices of channels, unless what waits is rounded.
        MBConvCase{"b3 3.1", 1, 256, 14, 4, 256, 1, 1, f32, large_core, false, 1, 14, 14, 2, 32, 1},
        MBConvCase{"l3 4.1", 1, 1024, 7, 6, 1024, 1, 1, f32, large_core, false, 1, 7, 7, 2, 128, 1},
        MBConvCase{"l3 4.1, bf16", 1, 1024, 7, 6, 1024, 1, 1, bf16, large_core, false, 1, 7, 7, 2, 384, 1}));

TEST(Schedules, OfInvertedBottlenecksCoverAllRowsAndChannels) {
    for (const int in : {8, 24, 100, 512}) {
        for (const int size : {1, 2, 7, 33, 200}) {
            for (const int stride : {1, 2}) {
                for (const int workers : {1, 2, 3, 16}) {
                    for (const Core& core : {small_core, large_core, Core{0, 0, 1}, Core{Index{1} << 40, 0, 1}}) {
                        const MBConvCase c{"", 1, in, size, 4, in, stride, workers, f32, core, {}, 0, 0, 0, 0, 0, 0};
                        const InvertedBottleneckSchedule s = schedule_of(c);
                        const int rows = (size + stride - 1) / stride;
                        SCOPED_TRACE(testing::Message() << in << " channels, size " << size << ", stride " << stride
                                                        << ", " << workers << " workers, cache " << core.l2_bytes);
                        EXPECT_GE(s.bands, 1);
                        EXPECT_LE(s.bands, rows);
                        EXPECT_GE(s.step_rows, 1);
                        EXPECT_LE(s.step_rows, rows);
                        EXPECT_GE(s.ring_rows, std::min(s.window_rows, size));
                        EXPECT_EQ(s.slice_blocks % 2, 0);
                        EXPECT_GE(s.slice_blocks, 2);
                        EXPECT_EQ(s.middle_block_floats, Index{s.step_rows} * rows * ev::detail::block_width(4 * in));
                    }
                }
            }
        }
    }
}

TEST(Schedules, OfFusedBottlenecksWaitInTheCache) {
    const FeatureMap y = blocked_map(1, 64, {56, 56}, 0);
    // l1's stage 1: 512 channels wait for the projection, 56 x 512 floats a row.
    const FusedBottleneckSchedule light = schedule_fused(512, 100'000, y, {1, f32, large_core});
    EXPECT_EQ(light.steps, 28);
    EXPECT_EQ(light.step_rows, 2);
    const FusedBottleneckSchedule heavy = schedule_fused(512, 300'000, y, {1, f32, large_core});
    EXPECT_EQ(heavy.steps, 14);
    EXPECT_EQ(heavy.step_rows, 4);
    EXPECT_EQ(schedule_fused(512, 100'000, y, {1, f32, small_core}).step_rows, 1);
    // Steps are chunks of work too: two for each worker.
    EXPECT_EQ(schedule_fused(16, 100, y, {8, f32, large_core}).steps, 16);
    EXPECT_EQ(heavy.rounded_words, 0);
    EXPECT_GT(schedule_fused(512, 300'000, y, {1, bf16, large_core}).rounded_words, 0);
}

struct WinogradCase {
    const char* name;
    int in, out, height, width, workers;
    Core core;
    // Expected.
    bool used;
    int steps_down, step_rows, steps_across, step_columns;
};
std::ostream& operator<<(std::ostream& out, const WinogradCase& c) { return out << c.name; }

class WinogradSchedules : public testing::TestWithParam<WinogradCase> {};

TEST_P(WinogradSchedules, AreDecidedFromSizes) {
    const WinogradCase& c = GetParam();
    const FeatureMap y = blocked_map(1, c.out, {c.height, c.width}, 0);
    const WinogradSchedule s = schedule_winograd(c.in, c.out, y, {c.workers, f32, c.core});
    EXPECT_EQ(s.used, c.used);
    EXPECT_EQ(s.steps_down, c.steps_down);
    EXPECT_EQ(s.step_rows, c.step_rows);
    EXPECT_EQ(s.steps_across, c.steps_across);
    EXPECT_EQ(s.step_columns, c.step_columns);
}

INSTANTIATE_TEST_SUITE_P(, WinogradSchedules,
                         testing::Values(
                             // About 64 tiles a step, whole rows where they fit.
                             WinogradCase{"l1 stage 0", 32, 32, 112, 112, 1, large_core, true, 14, 2, 1, 28},
                             WinogradCase{"l1 stage 1", 64, 256, 56, 56, 1, large_core, true, 3, 5, 1, 14},
                             WinogradCase{"l1 stage 2", 128, 512, 28, 28, 1, large_core, true, 1, 7, 1, 7},
                             WinogradCase{"sam_l0 stage 0", 32, 32, 256, 256, 1, large_core, true, 64, 1, 1, 64},
                             WinogradCase{"sam_l0 neck", 256, 256, 64, 64, 1, large_core, true, 4, 4, 1, 16},
                             WinogradCase{"a wide map", 32, 32, 16, 512, 1, large_core, true, 4, 1, 2, 64},
                             WinogradCase{"no whole tile", 32, 32, 30, 30, 1, large_core, true, 1, 8, 1, 8},
                             // As many steps as threads can share equally.
                             WinogradCase{"l1 stage 1, 2 threads", 64, 256, 56, 56, 2, large_core, true, 4, 4, 1, 14},
                             WinogradCase{"l1 stage 2, 2 threads", 128, 512, 28, 28, 2, large_core, true, 2, 4, 1, 7},
                             WinogradCase{"l1 stage 2, 16 threads", 128, 512, 28, 28, 16, large_core, true, 7, 1, 1, 7},
                             // Where there is no third cache, inputs of a step stay in the second.
                             WinogradCase{"sam_l0 neck, cluster", 256, 256, 64, 64, 1, cluster, true, 16, 1, 1, 16},
                             WinogradCase{"l1 stage 0, cluster", 32, 32, 112, 112, 1, cluster, true, 14, 2, 1, 28},
                             // Too few tiles for so many weights, or tiles that are nearly empty.
                             WinogradCase{"8 x 8", 64, 256, 8, 8, 1, large_core, false, 1, 0, 1, 0},
                             WinogradCase{"14 x 14", 64, 256, 14, 14, 1, large_core, false, 1, 0, 1, 0},
                             WinogradCase{"16 x 16", 64, 256, 16, 16, 1, large_core, true, 1, 4, 1, 4},
                             WinogradCase{"17 x 17", 64, 256, 17, 17, 1, large_core, false, 1, 0, 1, 0},
                             WinogradCase{"a row", 64, 256, 1, 200, 1, large_core, false, 1, 0, 1, 0},
                             WinogradCase{"one channel", 1, 1, 64, 64, 1, large_core, false, 1, 0, 1, 0}));

/// Results depend on whether it is used, so that must not depend on the machine.
TEST(Schedules, OfWinogradAreUsedWhateverTheMachine) {
    for (const int channels : {16, 32, 256}) {
        for (int size = 1; size < 70; ++size) {
            const FeatureMap y = blocked_map(1, channels, {size, size + 3}, 0);
            const bool used = schedule_winograd(channels, channels, y, {}).used;
            for (const int workers : {1, 3, 64}) {
                for (const Core& core : {small_core, large_core, cluster, Core{0, 0, 1}, Core{Index{1} << 40, 1, 1}}) {
                    for (const Operands operands : {f32, Operands::int8}) {
                        const WinogradSchedule s = schedule_winograd(channels, channels, y, {workers, operands, core});
                        EXPECT_EQ(s.used, used);
                        if (!used) continue;
                        const int rows = (size + 3) / 4, columns = (size + 6) / 4;
                        EXPECT_LE(s.steps_down, rows);
                        EXPECT_GE(s.steps_down * s.step_rows, rows);
                        EXPECT_GE(s.steps_across * s.step_columns, columns);
                        EXPECT_EQ(s.floats, winograd_floats(operands, channels, s.step_rows * s.step_columns));
                        EXPECT_EQ(s.middle_block_floats / 16 % 2, 1);
                        EXPECT_EQ(s.rounded_words,
                                  operands == f32 ? 0 : rounded_words(operands, channels, 16 * s.step_columns));
                    }
                }
            }
        }
    }
}

TEST(Schedules, OfAttentionTakeHeadsInPairsOfBlocks) {
    const FeatureMap x = blocked_map(2, 64, {14, 14}, 0);
    const AttentionSchedule narrow = schedule(AttentionSizes{16, 12, 1, 2, 8}, x, Machine{});
    EXPECT_EQ(narrow.group, 2);
    EXPECT_EQ(narrow.groups, 6);
    EXPECT_EQ(narrow.part_floats, 14 * 14 * 16);
    EXPECT_EQ(narrow.plane_floats, 14 * (14 + 4) * 16);
    EXPECT_EQ(narrow.image_floats, 2 * 12 * narrow.part_floats);
    EXPECT_EQ(narrow.attended_floats, 8 * narrow.part_floats);
    const AttentionSchedule wide = schedule(AttentionSizes{32, 3, 1, 2, 2}, x, Machine{});
    EXPECT_EQ(wide.group, 1);
    EXPECT_EQ(wide.groups, 3);
}

TEST(Schedules, OfPointwiseConvolutionsCutRowsOrChannels) {
    using ev::detail::PointwiseSchedule;
    const FeatureMap small = blocked_map(1, 256, {7, 7}, 0), large = blocked_map(1, 256, {56, 56}, 0);
    EXPECT_EQ(schedule_pointwise(small, {1, f32, {}}), (PointwiseSchedule{false, 1}));
    EXPECT_EQ(schedule_pointwise(small, {2, f32, {}}), (PointwiseSchedule{true, 4}));
    EXPECT_EQ(schedule_pointwise(large, {2, f32, {}}), (PointwiseSchedule{false, 4}));
    EXPECT_EQ(schedule_pointwise(small, {16, f32, {}}), (PointwiseSchedule{false, 7}));
}

TEST(Schedules, KnowTheCore) {
    const Core& core = ev::detail::this_core();
    EXPECT_GE(core.l2_bytes, 64 << 10);
    EXPECT_LE(core.l2_bytes, Index{1} << 30);
    EXPECT_GE(core.l3_bytes, 0);
    EXPECT_GE(core.l2_cores, 1);
    EXPECT_TRUE(core.fma_units == 1 || core.fma_units == 2);
}

TEST(Schedules, CountCpusOfALinuxList) {
    using ev::detail::count_cpus;
    EXPECT_EQ(count_cpus("0"), 1);
    EXPECT_EQ(count_cpus("0-3"), 4);
    EXPECT_EQ(count_cpus("0-3,8"), 5);
    EXPECT_EQ(count_cpus("4,6,10-11"), 4);
    EXPECT_EQ(count_cpus(""), 0);
    EXPECT_EQ(count_cpus("?"), 0);
}

#if defined(EFFICIENTVIT_X86)
TEST(Schedules, ReadCachesFromCpuid) {
    using ev::detail::cache_level;
    // Zen 4's second level as leaf 0x8000001d tells it: 8 ways, lines of 64 bytes, 2048 sets.
    EXPECT_EQ(cache_level({0x143, 0x01c0003f, 0x7ff, 0x2}).level, 2);
    EXPECT_EQ(cache_level({0x143, 0x01c0003f, 0x7ff, 0x2}).bytes, 1 << 20);
    EXPECT_EQ(cache_level({0x122, 0x01c0003f, 0x3f, 0}).bytes, 0);  // of instructions
    EXPECT_EQ(cache_level({0, 0, 0, 0}).level, 0);
}

TEST(Schedules, KnowHowManyUnitsMultiply) {
    using ev::detail::fma_units;
    EXPECT_EQ(fma_units(ev::Isa::avx2, false, 6, 0x3c, false), 2);      // Haswell
    EXPECT_EQ(fma_units(ev::Isa::avx512, true, 0x19, 0x11, false), 1);  // Zen 4
    EXPECT_EQ(fma_units(ev::Isa::avx512, true, 0x1a, 0x02, false), 2);  // Zen 5
    EXPECT_EQ(fma_units(ev::Isa::avx512, false, 6, 0x8c, false), 1);    // Tiger Lake
    EXPECT_EQ(fma_units(ev::Isa::avx512, false, 6, 0x6a, false), 2);    // Ice Lake, server
    EXPECT_EQ(fma_units(ev::Isa::avx512, false, 6, 0x8f, true), 2);     // Sapphire Rapids
}
#endif

}  // namespace
