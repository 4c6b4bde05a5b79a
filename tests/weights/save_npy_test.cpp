// SPDX-License-Identifier: Apache-2.0
//
// save_npy.hpp: the bytes of the file, as NumPy 1.26 writes them, and that a failure leaves everything as it was.
#include <efficientvit/weights/save_npy.hpp>

#include "safetensors_files.hpp"

#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

namespace {

class SaveNpy : public InDirectory {
protected:
    static std::string read(const fs::path& path) {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    }
    std::ptrdiff_t files() const { return std::distance(fs::directory_iterator(directory_), fs::directory_iterator()); }
};

TEST_F(SaveNpy, WritesWhatNumpyWould) {
    const std::vector<float> values{1, -2, 0.5f, std::numeric_limits<float>::infinity(), 1e-42f, 3};
    const fs::path path = directory_ / "x.npy";
    ev::save_npy(path, {values.data(), {1, 2, 3, 1}});
    const std::string about = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3, 1), }";
    std::string expected = std::string("\x93NUMPY\x01\x00\x76\x00", 10) + about;
    expected += std::string(127 - expected.size(), ' ') + "\n";
    expected.append(reinterpret_cast<const char*>(values.data()), sizeof(float) * values.size());
    EXPECT_EQ(read(path), expected);
    EXPECT_EQ(files(), 1);
}

TEST_F(SaveNpy, DataBeginAtAMultipleOf64WhateverTheShape) {
    const fs::path path = directory_ / "x.npy";
    // The last two: no padding but the line's end is left, and none of that, so that another 64 bytes are needed.
    constexpr std::ptrdiff_t digits18 = 100'000'000'000'000'000;
    constexpr std::ptrdiff_t digits19 = 10 * digits18;
    for (const auto& [shape, size] :
         {std::pair(ev::Shape{0, 3, 224, 224}, 128u), std::pair(ev::Shape{0, 1, 1, 1}, 128u),
          std::pair(ev::Shape{0, digits18, digits18, digits19}, 128u),
          std::pair(ev::Shape{0, digits18, digits19, digits19}, 192u)}) {
        ev::save_npy(path, {nullptr, shape});
        const std::string content = read(path);
        EXPECT_EQ(content.size(), size);
        EXPECT_EQ(content.back(), '\n');
        EXPECT_EQ(static_cast<unsigned char>(content[8]) + 256u * static_cast<unsigned char>(content[9]) + 10,
                  content.size());
        EXPECT_NE(content.find("'shape': " + ev::detail::to_string(shape) + ", }"), std::string::npos);
    }
}

TEST_F(SaveNpy, RefusesMoreThanMemoryCanHold) {
    const float value = 1;
    constexpr std::ptrdiff_t most = std::numeric_limits<std::ptrdiff_t>::max() / 4;
    const std::ptrdiff_t half = std::ptrdiff_t{1} << (sizeof(std::ptrdiff_t) * 4);  // of the bits: its square is 0
    for (const ev::Shape& shape : {ev::Shape{half, half, 1, 1}, ev::Shape{half / 2, half / 2, 1, 1},
                                   ev::Shape{most, 1, 2, 1}, ev::Shape{most + 1, 1, 1, 1}, ev::Shape{3, 1, 1, most}}) {
        for (const float* const data : {static_cast<const float*>(nullptr), &value}) {
            expect_in("has more elements than memory can hold", ::message_of<ev::ShapeError>([&] {
                          ev::save_npy(directory_ / "x.npy", {data, shape});
                      }));
        }
    }
    // No element at all, whichever extent says so.
    ev::save_npy(directory_ / "empty.npy", {nullptr, {half, half, half, 0}});
    EXPECT_EQ(files(), 1) << "only 'empty.npy'";
}

TEST_F(SaveNpy, TakesTensorsMapsAndViews) {
    ev::Tensor tensor(1, 2, 1, 3);
    for (int i = 0; i < 6; ++i) tensor.data()[i] = static_cast<float>(i);
    ev::save_npy(directory_ / "tensor.npy", tensor);
    ev::save_npy(directory_ / "view.npy", ev::view(tensor));
    ev::save_npy(directory_ / "map.npy", Eigen::TensorMap<ev::Tensor>(tensor.data(), 1, 2, 1, 3));
    const std::string content = read(directory_ / "tensor.npy");
    EXPECT_EQ(content.size(), 128u + 24u);
    EXPECT_EQ(std::memcmp(content.data() + 128, tensor.data(), 24), 0);
    EXPECT_EQ(read(directory_ / "view.npy"), content);
    EXPECT_EQ(read(directory_ / "map.npy"), content);
}

TEST_F(SaveNpy, LeavesNothingBehindOnFailure) {
    const float value = 1;
    EXPECT_NE(message_of([&] {
                  ev::save_npy(directory_ / "none" / "x", {&value, {1, 1, 1, 1}});
              }).find("cannot be created"),
              std::string::npos);
    fs::create_directories(directory_ / "taken" / "inside");
    EXPECT_NE(message_of([&] {
                  ev::save_npy(directory_ / "taken", {&value, {1, 1, 1, 1}});
              }).find("cannot be replaced"),
              std::string::npos);
    EXPECT_EQ(files(), 1) << "only 'taken'";
    EXPECT_THROW(ev::save_npy(directory_ / "x", {nullptr, {1, 1, 1, 1}}), ev::ShapeError);
    EXPECT_THROW(ev::save_npy(directory_ / "x", {&value, {1, -1, 1, 1}}), ev::ShapeError);
    EXPECT_EQ(files(), 1) << "only 'taken'";
}

}  // namespace
