// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a pickle, taken one after the other, and the messages about them. Not for users: torch_checkpoint.hpp
// is.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Reads the operands of instructions.
class PickleSource {
public:
    PickleSource(std::vector<std::byte> bytes, std::string source)
        : out_(std::move(bytes)), source_(std::move(source)) {}

protected:
    [[noreturn]] void fail(std::initializer_list<std::string_view> what) const {
        throw WeightsError(concat({source_, ": at byte ", std::to_string(at_), ": ", concat(what)}));
    }

    void need(std::uint64_t size) const {
        if (size > out_.bytes_.size() - position_)
            fail({"cut short: ends at byte ", std::to_string(out_.bytes_.size())});
    }

    /// The next `width` bytes as an unsigned number.
    std::uint64_t take(std::size_t width) {
        need(width);
        std::uint64_t value = 0;
        std::memcpy(&value, out_.bytes_.data() + position_, width);
        position_ += width;
        return value;
    }

    PickleValue take_string(std::uint64_t size) {
        need(size);
        const PickleValue out{PickleKind::string, 0, static_cast<std::uint32_t>(size),
                              static_cast<std::int64_t>(position_)};
        position_ += static_cast<std::size_t>(size);
        return first_not_utf8(out_.text(out)) == size ? out : unnamed(PickleObject::bad_string);
    }

    PickleValue take_integer(std::uint64_t size) {
        need(size);
        PickleValue out{PickleKind::integer};
        if (size > 8) {
            out.kind = PickleKind::number;
            position_ += static_cast<std::size_t>(size);
        } else if (size > 0) {
            const std::size_t unused = 64 - 8 * static_cast<std::size_t>(size);
            out.number = static_cast<std::int64_t>(take(static_cast<std::size_t>(size)) << unused) >> unused;
        }
        return out;
    }

    /// Up to the end of the line.
    std::string_view take_line() {
        const auto begin = out_.bytes_.begin() + static_cast<std::ptrdiff_t>(position_);
        const auto end = std::find(begin, out_.bytes_.end(), std::byte{'\n'});
        if (end == out_.bytes_.end()) fail({"cut short: a line without an end"});
        const auto size = static_cast<std::size_t>(end - begin);
        const std::string_view line(reinterpret_cast<const char*>(out_.bytes_.data()) + position_, size);
        position_ += size + 1;
        return line;
    }

    /// A float of 64 bits, which pickles hold big-endian.
    PickleValue take_real() {
        need(8);
        std::uint64_t bits = 0;
        for (int i = 0; i < 8; ++i) bits = bits << 8 | take(1);
        return {PickleKind::real, 0, 0, std::bit_cast<std::int64_t>(bits)};
    }

    /// Bytes that nobody asks for.
    PickleValue take_bytes(std::uint64_t size) {
        need(size);
        position_ += static_cast<std::size_t>(size);
        return unnamed(PickleObject::bytes);
    }

    /// Where something read from the pickle begins.
    std::uint64_t offset_of(std::string_view text) const {
        return static_cast<std::uint64_t>(text.data() - reinterpret_cast<const char*>(out_.bytes_.data()));
    }

    Pickle out_;
    std::string source_;
    std::size_t position_ = 0;
    std::size_t at_ = 0;  // where the instruction at hand begins
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
