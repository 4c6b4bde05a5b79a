// SPDX-License-Identifier: Apache-2.0
//
// Reads a NumPy file into a tensor: what save_npy() or numpy.save() wrote of a float array. The format: NumPy's
// numpy.lib.format, versions 1.0 to 3.0. No more memory is taken than the file has bytes.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/tensor.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// What stands behind `'key':` in a NumPy header, blanks cut; empty if it is not there.
EFFICIENTVIT_COLD inline std::string_view npy_value(std::string_view header, std::string_view key) {
    const std::size_t at = header.find(concat({"'", key, "'"}));
    if (at == std::string_view::npos) return {};
    std::string_view rest = header.substr(at + key.size() + 2);
    const std::size_t begin = rest.find_first_not_of(" :");
    return begin == std::string_view::npos ? std::string_view{} : rest.substr(begin);
}

}  // namespace detail

/// Reads an array of float16, float32 or float64, C order, of one to four dimensions; missing ones in front are 1.
/// Throws WeightsError for a file that cannot be read, is no NumPy file, is cut short, or holds something else.
EFFICIENTVIT_COLD inline Tensor load_npy(const std::filesystem::path& path) {
    const auto fail = [&](std::initializer_list<std::string_view> what) {
        throw WeightsError(detail::concat({path.string(), ": ", detail::concat(what)}));
    };
    std::ifstream in(path, std::ios::binary);
    if (!in) fail({"cannot be opened"});
    const std::vector<char> file{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (in.bad()) fail({"cannot be read"});
    const std::string_view bytes(file.data(), file.size());
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
    if (bytes.size() < 12 || !bytes.starts_with("\x93NUMPY")) fail({"found no NumPy file, expected one"});
    const bool wide = byte(6) >= 2;
    const std::size_t before = wide ? 12 : 10;
    std::size_t length = byte(8) | byte(9) << 8;
    if (wide) length |= byte(10) << 16 | byte(11) << 24;
    if (byte(6) < 1 || byte(6) > 3 || length > bytes.size() - before) fail({"a broken NumPy header"});
    const std::string_view header = bytes.substr(before, length);

    const std::string_view descr = detail::npy_value(header, "descr");
    const DType dtype = descr.starts_with("'<f2'") ? DType::f16 : descr.starts_with("'<f8'") ? DType::f64 : DType::f32;
    if (dtype == DType::f32 && !descr.starts_with("'<f4'")) {
        fail({"found the dtype ", detail::printable(descr.substr(0, descr.find(','))),
              ", expected '<f4', '<f2' or '<f8'"});
    }
    if (!detail::npy_value(header, "fortran_order").starts_with("False")) {
        fail({"found an array in Fortran order, expected C order"});
    }
    std::array<std::int64_t, 4> extents{};
    std::size_t dimensions = 0;
    std::string_view shape = detail::npy_value(header, "shape");
    shape = shape.substr(0, shape.find(')'));
    for (const char* at = shape.data(); at < shape.data() + shape.size();) {
        if (*at < '0' || *at > '9') {
            ++at;
            continue;
        }
        std::int64_t extent = 0;
        const auto [end, error] = std::from_chars(at, shape.data() + shape.size(), extent);
        if (error != std::errc{} || dimensions == extents.size())
            fail({"found the shape ", detail::printable(shape), "), expected four dimensions at most"});
        extents[dimensions++] = extent;
        at = end;
    }
    if (dimensions == 0) fail({"found an array without dimensions, expected one to four"});
    std::array<std::int64_t, 4> s{1, 1, 1, 1};
    for (std::size_t i = 0; i < dimensions; ++i) s[4 - dimensions + i] = extents[i];
    const auto count = detail::element_count(s);
    const std::string_view data = bytes.substr(before + length);
    if (!count || *count > data.size() || *count * dtype_size(dtype) != data.size()) {
        fail({"found ", std::to_string(data.size()), " bytes of data, which the shape ", detail::printable(shape),
              ") does not have"});
    }
    Tensor out(static_cast<Eigen::Index>(s[0]), static_cast<Eigen::Index>(s[1]), static_cast<Eigen::Index>(s[2]),
               static_cast<Eigen::Index>(s[3]));
    to_float(Entry{dtype, {s.begin(), s.end()}, std::as_bytes(std::span(data)), nullptr},
             std::span(out.data(), static_cast<std::size_t>(out.size())));
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
