// SPDX-License-Identifier: Apache-2.0
//
// The JSON header of a safetensors file, read as a stream of events and checked. Not for users: safetensors.hpp is.
// Needs nlohmann/json.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/json_events.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Takes the events of the JSON parser, whose interface fixes the names of the public functions, and fills the
/// StateDict. Whatever does not belong is thrown out at once, so nesting never gets deeper than a tensor's shape.
class SafetensorsHandler final : public JsonEvents {
public:
    SafetensorsHandler(StateDict& out, std::span<const std::byte> data, std::shared_ptr<const Storage> owner)
        : out_(out), data_(data), owner_(std::move(owner)) {}

    bool null() override { return reject("null"); }
    bool boolean(bool) override { return reject("a boolean"); }
    bool number_integer(number_integer_t value) override { return reject(std::to_string(value)); }  // only if negative
    bool number_float(number_float_t, const std::string& text) override { return reject(printable(text)); }
    bool binary(binary_t&) override { return reject("binary data"); }

    bool number_unsigned(number_unsigned_t value) override {
        if (place_ == Place::shape) {
            if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                fail({"overflow: an extent of ", std::to_string(value)});
            }
            if (shape_.size() == most_dimensions) fail({"more than ", std::to_string(most_dimensions), " dimensions"});
            shape_.push_back(static_cast<std::int64_t>(value));
        } else if (place_ == Place::offsets && offset_count_ < 2) {
            offsets_[offset_count_++] = value;
        } else {
            return reject(std::to_string(value));
        }
        return true;
    }

    bool string(std::string& text) override {
        if (place_ == Place::metadata) {
            out_.metadata()[key_] = text;
        } else if (place_ == Place::tensor && key_ == "dtype") {
            dtype_ = text;
        } else {
            return reject(in_quotes(text));
        }
        return true;
    }

    bool start_object(std::size_t) override {
        if (place_ == Place::start) {
            place_ = Place::top;
        } else if (place_ == Place::top) {
            place_ = name_ == "__metadata__" ? Place::metadata : Place::tensor;
        } else {
            return reject("an object");
        }
        return true;
    }

    bool key(std::string& text) override {
        if (place_ == Place::top) {
            name_ = text;
            if (out_.contains(name_) || out_.unreadable().contains(name_) ||
                (name_ == "__metadata__" && std::exchange(has_metadata_, true))) {
                fail({"the name is there twice"});
            }
            has_dtype_ = has_shape_ = has_offsets_ = false;
            return true;
        }
        key_ = text;
        bool twice = false;
        if (place_ == Place::metadata) {
            twice = out_.metadata().contains(key_);
        } else if (key_ == "dtype") {
            twice = std::exchange(has_dtype_, true);
        } else if (key_ == "shape") {
            twice = std::exchange(has_shape_, true);
        } else if (key_ == "data_offsets") {
            twice = std::exchange(has_offsets_, true);
        } else {
            fail({"an unknown field ", in_quotes(key_), ", expected dtype, shape and data_offsets"});
        }
        if (twice) fail({"the field ", in_quotes(key_), " is there twice"});
        return true;
    }

    bool end_object() override {
        if (place_ == Place::tensor) add_tensor();
        place_ = place_ == Place::top ? Place::end : Place::top;
        return true;
    }

    bool start_array(std::size_t) override {
        if (place_ == Place::tensor && key_ == "shape") {
            place_ = Place::shape;
            shape_.clear();
        } else if (place_ == Place::tensor && key_ == "data_offsets") {
            place_ = Place::offsets;
            offset_count_ = 0;
        } else {
            return reject("an array");
        }
        return true;
    }

    bool end_array() override {
        if (place_ == Place::offsets && offset_count_ != 2) {
            fail({"data_offsets of ", std::to_string(offset_count_), " numbers, expected 2"});
        }
        place_ = Place::tensor;
        return true;
    }

    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
        throw WeightsError(concat({out_.source(), ": the header is not valid JSON at its byte ",
                                   std::to_string(position), ": ", printable(error.what())}));
    }

    /// After the last event: the tensors must lie one behind the other from the first byte of data to the last.
    void check_coverage() const {
        using Piece = std::tuple<const std::byte*, std::size_t, std::string_view>;
        std::vector<Piece> pieces;
        pieces.reserve(out_.size() + odd_.size());
        for (const Odd& odd : odd_) pieces.emplace_back(odd.data.data(), odd.data.size(), odd.name);
        for (const auto& [name, entry] : out_) pieces.emplace_back(entry.data.data(), entry.data.size(), name);
        std::sort(pieces.begin(), pieces.end());
        std::size_t end = 0;
        for (const auto& [at, size, name] : pieces) {
            const auto begin = static_cast<std::size_t>(at - data_.data());
            if (begin != end) {
                throw WeightsError(concat(
                    {out_.source(), ": tensor ", in_quotes(name), " begins at byte ", std::to_string(begin),
                     " of the data, expected ", std::to_string(end),
                     begin > end ? ": a hole of bytes that belong to no tensor" : ": it overlaps the one before"}));
            }
            end += size;
        }
        if (end != data_.size()) {
            throw WeightsError(concat({out_.source(), ": ", std::to_string(data_.size() - end),
                                       " bytes behind the last tensor, expected none: the data ends at byte ",
                                       std::to_string(end), " of ", std::to_string(data_.size())}));
        }
    }

private:
    enum class Place { start, top, metadata, tensor, shape, offsets, end };
    static constexpr std::size_t most_dimensions = 64;  // as PyTorch has it

    [[noreturn]] void fail(std::initializer_list<std::string_view> what) const {
        throw WeightsError(concat(
            {out_.source(), name_ == "__metadata__" ? ": " : ": tensor ", in_quotes(name_), ": ", concat(what)}));
    }

    /// An event that does not belong where the parser stands.
    bool reject(std::string_view found) const {
        switch (place_) {
            case Place::top:
                fail({"found ", found, ", expected an object"});
            case Place::metadata:
                fail({"key ", in_quotes(key_), ": found ", found, ", expected a string"});
            case Place::shape:
                fail({"shape: found ", found, ", expected extents, which are integers >= 0"});
            case Place::offsets:
                fail({"data_offsets: found ", found, ", expected two integers >= 0"});
            case Place::tensor:
                break;
            case Place::start:
            case Place::end:
                throw WeightsError(concat({out_.source(), ": the header is not a JSON object"}));
        }
        fail({key_, ": found ", found, key_ == "dtype" ? ", expected a string" : ", expected an array"});
    }

    /// The bits of one element, for every dtype that the format knows; 0 for any other.
    static unsigned bits_of(std::string_view dtype) {
        if (const std::optional<DType> known = dtype_from_name(dtype))
            return static_cast<unsigned>(8 * dtype_size(*known));
        if (dtype == "F4") return 4;
        if (dtype == "F6_E2M3" || dtype == "F6_E3M2") return 6;
        if (dtype == "F8_E4M3" || dtype == "F8_E5M2" || dtype == "F8_E8M0") return 8;
        if (dtype == "U16") return 16;
        if (dtype == "U32") return 32;
        if (dtype == "U64" || dtype == "C64") return 64;
        return 0;
    }

    void add_tensor() {
        if (!has_dtype_) fail({"no dtype"});
        if (!has_shape_) fail({"no shape"});
        if (!has_offsets_) fail({"no data_offsets"});
        constexpr std::string_view known = "F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL";
        const unsigned bits = bits_of(dtype_);
        if (bits == 0) fail({"the unknown dtype ", in_quotes(dtype_), ", expected ", known});
        const std::optional<std::uint64_t> count = element_count(shape_);
        const std::string shape = shape_text(shape_);
        if (!count || *count > std::numeric_limits<std::uint64_t>::max() / bits) {
            fail({"overflow: shape ", shape, " of dtype ", dtype_, " is more than 2^64 bits"});
        }
        if (*count * bits % 8 != 0) {
            fail({"misaligned: shape ", shape, " of dtype ", dtype_, " is ", std::to_string(*count * bits),
                  " bits, expected whole bytes"});
        }
        const std::string from = std::to_string(offsets_[0]);
        const std::string to = std::to_string(offsets_[1]);
        if (offsets_[0] > offsets_[1]) fail({"data_offsets [", from, ", ", to, "] end before they begin"});
        const std::uint64_t size = offsets_[1] - offsets_[0];
        if (size != *count * bits / 8) {
            fail({"data_offsets [", from, ", ", to, "] give ", std::to_string(size), " bytes, expected ",
                  std::to_string(*count * bits / 8), " for shape ", shape, " of dtype ", dtype_});
        }
        if (offsets_[1] > data_.size()) {
            fail({"data_offsets [", from, ", ", to, "] reach beyond the data of ", std::to_string(data_.size()),
                  " bytes: the file is cut short, or the header wrong"});
        }
        const std::optional<DType> dtype = dtype_from_name(dtype_);
        const std::span<const std::byte> bytes =
            data_.subspan(static_cast<std::size_t>(offsets_[0]), static_cast<std::size_t>(size));
        if (dtype) return out_.insert(name_, *dtype, shape_, bytes, owner_);
        out_.insert_unreadable(name_, dtype_);
        odd_.push_back({out_.unreadable().find(name_)->first, bytes});
    }

    /// A tensor of a dtype that no layer has.
    struct Odd {
        std::string_view name;
        std::span<const std::byte> data;
    };

    StateDict& out_;
    std::span<const std::byte> data_;
    std::shared_ptr<const Storage> owner_;
    std::vector<Odd> odd_;
    Place place_ = Place::start;
    std::string name_;  // of the tensor
    std::string key_;   // inside it
    std::string dtype_;
    std::vector<std::int64_t> shape_;
    std::uint64_t offsets_[2] = {0, 0};
    std::size_t offset_count_ = 0;
    bool has_metadata_ = false;
    bool has_dtype_ = false;
    bool has_shape_ = false;
    bool has_offsets_ = false;
};

/// Reads `header`, checks it against `data`, the bytes behind it, and adds its tensors, which `owner` keeps alive.
EFFICIENTVIT_COLD inline void read_safetensors_header(StateDict& out, std::span<const std::byte> header,
                                                      std::span<const std::byte> data,
                                                      std::shared_ptr<const Storage> owner) {
    const auto fail = [&out](std::initializer_list<std::string_view> what) {
        throw WeightsError(concat({out.source(), ": the header ", concat(what)}));
    };
    if (header.empty()) fail({"is empty, expected a JSON object"});
    const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
    const std::size_t bad = first_not_utf8(text);
    if (bad != text.size()) fail({"is not UTF-8 at its byte ", std::to_string(bad)});
    if (text.front() != '{') fail({"begins with ", in_quotes(text.substr(0, 1)), ", expected '{'"});
    // The JSON parser takes a zero byte for the end of its input, and would not see what follows.
    const std::size_t zero = text.find('\0');
    if (zero != std::string_view::npos) fail({"is not valid JSON: a zero at its byte ", std::to_string(zero)});

    SafetensorsHandler handler(out, data, std::move(owner));
    parse_json(text, handler);
    handler.check_coverage();
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
