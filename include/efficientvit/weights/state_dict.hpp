// SPDX-License-Identifier: Apache-2.0
//
// A state dict: tensors by name, as read from a file, from memory or brought by the caller. Knows no file
// format (safetensors.hpp does) and no model (load.hpp matches names and shapes).
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/dtype.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Keeps the bytes of tensors alive and reads them. Derive from it to lend a StateDict memory of another kind.
class Storage {
public:
    Storage() = default;
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;
    virtual ~Storage() = default;

    /// Copies the bytes at `from`, which this object keeps alive, to `to`. A mapped file reads through its
    /// descriptor instead of touching the mapping, so that a file cut short meanwhile is a WeightsError.
    virtual void read(const std::byte* from, std::span<std::byte> to) const {
        if (!to.empty()) std::memcpy(to.data(), from, to.size());
    }
};

/// Bytes on the heap, or whatever contiguous container T is handed over.
template <class T>
class HeapStorage final : public Storage {
public:
    /// Takes the container.
    explicit HeapStorage(T values) : values_(std::move(values)) {}
    /// All bytes.
    std::span<const std::byte> bytes() const { return std::as_bytes(std::span(values_)); }

private:
    const T values_;
};

/// One tensor: row-major, dense, little-endian; `data` may be unaligned.
struct Entry {
    DType dtype = DType::f32;              ///< of its elements
    std::vector<std::int64_t> shape;       ///< extents, the slowest first; empty for a scalar
    std::span<const std::byte> data;       ///< all of its bytes
    std::shared_ptr<const Storage> owner;  ///< null: the memory is the caller's, who keeps it while the entry is used

    /// Product of the extents; 1 for a scalar.
    std::size_t element_count() const { return data.size() / dtype_size(dtype); }
};

/// What a model asks for: a name of the reference's state dict, and the shape it must have.
struct Parameter {
    std::string name;                                ///< as in the state dict
    std::vector<std::int64_t> shape;                 ///< extents, the slowest first; the first may be any
    static constexpr std::int64_t any = -1;          ///< of any size: all that have it in one model have the same
    static constexpr std::int64_t any_or_none = -2;  ///< likewise, or all that have it are missing
};

/// Tensors by name, in the order of their names. Copies share the tensors' bytes.
class StateDict {
public:
    /// Tensors by name.
    using Map = std::map<std::string, Entry, std::less<>>;
    /// Texts by name.
    using Metadata = std::map<std::string, std::string, std::less<>>;
    /// Over pairs of name and Entry.
    using const_iterator = Map::const_iterator;

    /// Adds a tensor whose bytes are `data`; `owner` keeps them alive, or is null where the caller does.
    /// Throws WeightsError if the name is there already, if the shape and dtype do not make data.size() bytes, or if
    /// `dtype` is a number that is no DType.
    void insert(std::string name, DType dtype, std::vector<std::int64_t> shape, std::span<const std::byte> data,
                std::shared_ptr<const Storage> owner) {
        const auto count = detail::element_count(shape);
        if (!count || *count > data.size() || *count * dtype_size(dtype) != data.size()) {
            throw WeightsError(detail::concat({where(), "tensor ", detail::in_quotes(name), " of shape ",
                                               detail::shape_text(shape), " and dtype ", dtype_name(dtype),
                                               " cannot have ", std::to_string(data.size()), " bytes"}));
        }
        const bool odd = !unreadable_.empty() && unreadable_.contains(name);
        const auto [at, added] = entries_.try_emplace(std::move(name));
        if (!added || odd)
            throw WeightsError(detail::concat({where(), "tensor ", detail::in_quotes(at->first), " is there twice"}));
        at->second = Entry{dtype, std::move(shape), data, std::move(owner)};
    }

    /// Adds float32 values that the state dict then owns, row-major. Throws like the other insert().
    void insert(std::string name, std::vector<std::int64_t> shape, std::vector<float> values) {
        auto owner = std::make_shared<const HeapStorage<std::vector<float>>>(std::move(values));
        const std::span<const std::byte> bytes = owner->bytes();
        insert(std::move(name), DType::f32, std::move(shape), bytes, std::move(owner));
    }

    /// Notes that the file has a tensor of elements that no layer here has (float8, complex, sparse, …); `what` they
    /// are is for messages. Throws WeightsError if the name is there already.
    void insert_unreadable(std::string name, std::string what) {
        if (contains(name) || !unreadable_.try_emplace(name, std::move(what)).second)
            throw WeightsError(detail::concat({where(), "tensor ", detail::in_quotes(name), " is there twice"}));
    }

    /// What those tensors are, by name. They are no error until a model wants one; size(), find() and the iterators
    /// pass them over.
    const Metadata& unreadable() const { return unreadable_; }

    /// Removes a tensor; false if there was none of that name.
    bool erase(std::string_view name) {
        const auto found = entries_.find(name);
        if (found == entries_.end()) return false;
        entries_.erase(found);
        return true;
    }

    /// The tensor of that name or null; valid until this state dict changes or ends.
    const Entry* find(std::string_view name) const {
        const auto found = entries_.find(name);
        return found == entries_.end() ? nullptr : &found->second;
    }

    /// The tensor of that name; throws WeightsError if there is none.
    EFFICIENTVIT_COLD const Entry& at(std::string_view name) const {
        if (const Entry* entry = find(name)) return *entry;
        if (const auto odd = unreadable_.find(name); odd != unreadable_.end()) {
            throw WeightsError(detail::concat(
                {where(), "tensor ", detail::in_quotes(name), " is ", odd->second, ", which is not read"}));
        }
        throw WeightsError(
            detail::concat({where(), "no tensor ", detail::in_quotes(name), " among the ", std::to_string(size())}));
    }

    /// Whether there is a tensor of that name.
    bool contains(std::string_view name) const { return find(name) != nullptr; }
    /// How many tensors.
    std::size_t size() const { return entries_.size(); }
    /// Whether there are none.
    bool empty() const { return entries_.empty(); }
    /// The first, by name.
    const_iterator begin() const { return entries_.begin(); }
    /// Behind the last.
    const_iterator end() const { return entries_.end(); }

    /// All names, in order.
    std::vector<std::string> names() const {
        std::vector<std::string> out;
        out.reserve(size());
        for (const auto& [name, entry] : entries_) out.push_back(name);
        return out;
    }

    /// Free text that came with the tensors: the `__metadata__` of a safetensors file. Ours to read and write.
    const Metadata& metadata() const { return metadata_; }
    /// The same to change.
    Metadata& metadata() { return metadata_; }

    /// Where the tensors came from, such as a file's name; stands at the head of error messages. May be empty.
    const std::string& source() const { return source_; }
    /// What source() will be.
    void set_source(std::string source) { source_ = std::move(source); }

private:
    std::string where() const { return source_.empty() ? "state dict: " : detail::concat({source_, ": "}); }

    Map entries_;
    Metadata metadata_;
    Metadata unreadable_;
    std::string source_;
};

namespace detail {

/// Copies part of a tensor's bytes, as its owner wants them read.
inline void read_bytes(const Entry& entry, std::size_t position, std::span<std::byte> to) {
    const std::byte* from = entry.data.data() + position;
    if (entry.owner) {
        entry.owner->read(from, to);
    } else if (!to.empty()) {
        std::memcpy(to.data(), from, to.size());
    }
}

template <class Stored, class Convert>
void convert_entry(const Entry& entry, std::span<float> out, Convert convert) {
    // In pieces that stay in the first-level cache: the bytes may be unaligned, or sit in a file.
    std::array<Stored, 8192 / sizeof(Stored)> piece;
    with_float_defaults([&] {  // doubles and integers round; not as the caller's modes have it
        for (std::size_t done = 0; done < out.size(); done += piece.size()) {
            const std::size_t count = std::min(piece.size(), out.size() - done);
            read_bytes(entry, done * sizeof(Stored), std::as_writable_bytes(std::span(piece).first(count)));
            for (std::size_t i = 0; i < count; ++i) out[done + i] = convert(piece[i]);
        }
    });
}

}  // namespace detail

/// Converts a tensor's elements to float, row-major. Exact for F32, F16 and BF16; F64 and integers round to
/// nearest; BOOL gives 0 and 1. Throws WeightsError if `out` has not entry.element_count() elements, or if
/// the file behind a mapping cannot be read any more.
inline void to_float(const Entry& entry, std::span<float> out) {
    if (out.size() != entry.element_count()) {
        throw WeightsError(detail::concat({"to_float: room for ", std::to_string(out.size()),
                                           " elements, the tensor has shape ", detail::shape_text(entry.shape)}));
    }
    if (out.empty()) return;
    const auto plain = [](auto value) { return static_cast<float>(value); };
    switch (entry.dtype) {
        case DType::f32:
            return detail::read_bytes(entry, 0, std::as_writable_bytes(out));
        case DType::f64:
            return detail::convert_entry<double>(entry, out, plain);
        case DType::f16:
            return detail::convert_entry<std::uint16_t>(entry, out, detail::half_to_float);
        case DType::bf16:
            return detail::convert_entry<std::uint16_t>(entry, out, detail::bfloat_to_float);
        case DType::i64:
            return detail::convert_entry<std::int64_t>(entry, out, plain);
        case DType::i32:
            return detail::convert_entry<std::int32_t>(entry, out, plain);
        case DType::i16:
            return detail::convert_entry<std::int16_t>(entry, out, plain);
        case DType::i8:
            return detail::convert_entry<std::int8_t>(entry, out, plain);
        case DType::u8:
            return detail::convert_entry<std::uint8_t>(entry, out, plain);
        case DType::boolean:
            return detail::convert_entry<std::uint8_t>(entry, out,
                                                       [](std::uint8_t value) { return value != 0 ? 1.0f : 0.0f; });
    }
    throw WeightsError("to_float: an unknown dtype");
}

/// The same into a vector of its own.
inline std::vector<float> to_float(const Entry& entry) {
    std::vector<float> out(entry.element_count());
    to_float(entry, out);
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
