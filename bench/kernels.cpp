// SPDX-License-Identifier: Apache-2.0
//
// Every kernel on every ISA of this machine, at the sizes that b0 has at 224 pixels.

#include <string>
#include <vector>

#include <efficientvit/runtime/aligned_buffer.hpp>
#include <efficientvit/runtime/feature_map.hpp>
#include <tuple>
#include <utility>

#include "fma_limit.hpp"

namespace ev = efficientvit;
namespace k = efficientvit::kernels;

namespace {

using Floats = ev::detail::AlignedBuffer<float>;

Floats values(std::ptrdiff_t count) {
    Floats out(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = 0.01f * static_cast<float>(i % 23) - 0.1f;
    return out;
}

void pointwise(benchmark::State& state, const k::Table& table, int pixels, int in, int out, k::Act act) {
    const int x_block = ev::detail::block_width(in), y_block = ev::detail::block_width(out);
    const Floats x = values(pixels * ((in + 15) / 16 * 16)), w = values(in * ((out + 15) / 16 * 16)),
                 bias = values(out + 16);
    Floats y = values(pixels * ((out + 15) / 16 * 16));
    k::Pointwise a;
    a.x = x.data();
    a.x_block_stride = std::ptrdiff_t{pixels} * x_block;
    a.x_block = x_block;
    a.channels = in;
    a.weights = w.data();
    a.bias = bias.data();
    a.y = y.data();
    a.y_block_stride = a.y_row_stride = std::ptrdiff_t{pixels} * y_block;
    a.y_block = y_block;
    a.y_blocks = ev::detail::block_count(out);
    a.y_width = a.pixels = pixels;
    a.act = act;
    for (auto _ : state) table.pointwise(a);
    bench::report(state, double(pixels) * in * out, table.isa);
}

void depthwise(benchmark::State& state, const k::Table& table, int kernel, int stride, int width, int rows) {
    const int in_width = width * stride + kernel, in_rows = (rows - 1) * stride + kernel;
    const Floats x = values(in_width * in_rows * 16), w = values(kernel * kernel * 16), bias = values(16);
    Floats y = values(width * rows * 16);
    std::vector<const float*> pointers;
    for (int i = 0; i < in_rows; ++i) pointers.push_back(x.data() + i * in_width * 16);
    k::Depthwise a;
    a.rows = pointers.data();
    a.weights = w.data();
    a.bias = bias.data();
    a.y = y.data();
    a.y_row_stride = width * 16;
    a.y_rows = rows;
    a.y_width = width;
    a.kernel_size = kernel;
    a.stride = stride;
    a.act = k::Act::hswish_x6;
    for (auto _ : state) table.depthwise(a);
    bench::report(state, double(width) * rows * kernel * kernel * 16, table.isa);
}

/// 3x3 over one row; planar is the stem's way of reading.
void dense(benchmark::State& state, const k::Table& table, int in, int out, int width, int stride) {
    const int x_block = in <= 4 ? 1 : ev::detail::block_width(in), y_block = ev::detail::block_width(out);
    const int in_width = width * stride + 2, blocks = (in + x_block - 1) / x_block;
    const Floats x = values(in_width * 3 * blocks * x_block), w = values(9 * in * (out + 15)), bias = values(out + 15);
    Floats y = values(width * (out + 15));
    const float* pointers[3];
    for (int i = 0; i < 3; ++i) pointers[i] = x.data() + i * in_width * x_block;
    k::Dense a;
    a.rows = pointers;
    a.x_block_stride = std::ptrdiff_t{3} * in_width * x_block;
    a.x_block = x_block;
    a.channels = in;
    a.weights = w.data();
    a.bias = bias.data();
    a.y = y.data();
    a.y_block_stride = std::ptrdiff_t{width} * y_block;
    a.y_block = y_block;
    a.y_blocks = a.y_blocks_per_group = ev::detail::block_count(out);
    a.y_width = width;
    a.stride = stride;
    a.act = k::Act::hswish;
    for (auto _ : state) k::dense(table, a);
    bench::report(state, 9.0 * in * out * width, table.isa);
}

void attention(benchmark::State& state, const k::Table& table, int pixels, int dim) {
    const int block = ev::detail::block_width(dim), lanes = ev::detail::block_count(dim) * block;
    const Floats q = values(pixels * lanes), key = values(pixels * lanes), v = values(pixels * lanes);
    Floats y = values(pixels * lanes), scratch = values(k::attention_scratch(dim, block, pixels));
    k::Attention a;
    a.q = q.data();
    a.k = key.data();
    a.v = v.data();
    a.block_stride = std::ptrdiff_t{pixels} * block;
    a.y = y.data();
    a.y_block_stride = a.block_stride;
    a.pixels = pixels;
    a.dim = dim;
    a.block = block;
    a.scratch = scratch.data();
    const bool linear = pixels > dim;
    for (auto _ : state) (linear ? table.linear_attention : table.quadratic_attention)(a);
    bench::report(state, linear ? 2.0 * pixels * dim * (dim + 1) : 2.0 * pixels * pixels * dim, table.isa);
}

void all(const k::Table& table) {
    const auto add = [&](const std::string& name, auto function, auto... args) {
        benchmark::RegisterBenchmark((std::string(ev::isa_name(table.isa)) + "/" + name).c_str(),
                                     [=, &table](benchmark::State& state) { function(state, table, args...); });
    };
    for (const auto& [pixels, in, out, act] : {std::tuple{224, 8, 32, k::Act::hswish_x6},
                                               {112, 16, 64, k::Act::hswish_x6},
                                               {56, 32, 128, k::Act::hswish_x6},
                                               {196, 64, 256, k::Act::hswish_x6},
                                               {196, 256, 64, k::Act::none},
                                               {49, 128, 512, k::Act::hswish_x6},
                                               {49, 512, 128, k::Act::none},
                                               {196, 16, 16, k::Act::relu}}) {
        add("pointwise/" + std::to_string(pixels) + "x" + std::to_string(in) + "x" + std::to_string(out), pointwise,
            pixels, in, out, act);
    }
    for (const auto& [kernel, stride, width, rows] : {std::tuple{3, 1, 56, 4},
                                                      {3, 1, 14, 14},
                                                      {3, 1, 7, 7},
                                                      {3, 2, 28, 4},
                                                      {3, 2, 7, 7},
                                                      {5, 1, 14, 14},
                                                      {5, 1, 7, 7}}) {
        add("depthwise" + std::to_string(kernel) + "s" + std::to_string(stride) + "/" + std::to_string(rows) + "x" +
                std::to_string(width),
            depthwise, kernel, stride, width, rows);
    }
    add("dense/stem3x8", dense, 3, 8, 112, 2);
    add("dense/32x32", dense, 32, 32, 112, 1);
    add("dense/64x256", dense, 64, 256, 56, 1);
    for (const auto& [pixels, dim] : {std::pair{196, 16}, {49, 16}, {196, 32}, {16, 16}}) {
        add("attention/" + std::to_string(pixels) + "x" + std::to_string(dim), attention, pixels, dim);
    }
}

}  // namespace

int main(int argc, char** argv) {
    for (const ev::Isa isa : {ev::Isa::avx512, ev::Isa::avx2, ev::Isa::neon, ev::Isa::wasm, ev::Isa::scalar}) {
        if (ev::isa_supported(isa)) all(k::table(isa));
    }
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
