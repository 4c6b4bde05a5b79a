// SPDX-License-Identifier: Apache-2.0
//
// The tensors of a PyTorch checkpoint: from their description in the pickle to their bytes in the archive, both of
// which may lie. Not for users: torch_checkpoint.hpp is.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>
#include <efficientvit/weights/zip_archive.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Finds tensors in an archive for a StateDict. Refers to all that it is given.
class TorchTensors {
public:
    /// `root` is what the names of the archive's files begin with, such as "archive/".
    TorchTensors(const ZipArchive& archive, const Pickle& pickle, const std::string& root)
        : archive_(archive), pickle_(pickle), root_(root) {}

    /// Adds the tensor that a pair of a dict describes. Throws WeightsError if that does not fit the archive.
    EFFICIENTVIT_COLD void add(StateDict& out, const Pickle::Pair& pair) {
        const std::string name(pickle_.text(pair.key));
        if (std::string odd = unreadable(pair.value); !odd.empty()) {
            names_ += 1 + odd.size() / 32;
            check_names(name);
            return out.insert_unreadable(name, std::move(odd));
        }
        Entry storage;
        Layout layout = read_layout(name, pair.value, storage);
        // A tensor's own description is longer; so short of malice only few names share one.
        names_ += 1 + layout.shape.size() / 8;
        check_names(name);
        const std::size_t size = dtype_size(layout.dtype);
        const auto bytes = static_cast<std::size_t>(layout.count) * size;
        if (is_contiguous(layout)) {
            const std::size_t begin = bytes == 0 ? 0 : static_cast<std::size_t>(layout.offset) * size;
            return out.insert(name, layout.dtype, std::move(layout.shape), storage.data.subspan(begin, bytes),
                              storage.owner);
        }
        const std::shared_ptr<const HeapStorage<std::vector<std::byte>>> copy = gather(name, layout, storage);
        out.insert(name, layout.dtype, std::move(layout.shape), copy->bytes(), copy);
    }

private:
    static constexpr std::size_t most_dimensions = 64;  // as PyTorch has it

    /// Where a tensor's elements lie: counted in elements, which begin at `storage`.
    struct Layout {
        DType dtype = DType::f32;
        std::vector<std::int64_t> shape;
        std::vector<std::uint64_t> strides;
        std::uint64_t offset = 0;
        std::uint64_t count = 0;  // of all elements
        std::uint64_t reach = 0;  // from the first to the last, both counted; 0 if there is none
    };

    [[noreturn]] void fail(std::string_view name, std::initializer_list<std::string_view> what) const {
        archive_.fail({"tensor ", in_quotes(name), ": ", concat(what)});
    }

    void check_names(const std::string& name) const {
        if (names_ > pickle_.size() / 16 + 1) {
            fail(name,
                 {"there are more names than a pickle of ", std::to_string(pickle_.size()), " bytes has tensors for"});
        }
    }

    /// Of elements that no layer has: what they are, such as "torch.float8_e4m3fn"; else empty.
    EFFICIENTVIT_COLD std::string unreadable(const PickleValue& value) const {
        if (value.is(PickleKind::opaque)) return concat({"made by ", pickle_.class_name(value)});
        const PickleValue& storage = pickle_.item(value, 0);
        if (!storage.is(PickleKind::storage)) return {};
        const PickleValue& type = pickle_.item(storage, 1);
        if (type.is(PickleKind::opaque)) return pickle_.class_name(type);
        const bool v3 = pickle_.global(value).role == PickleRole::rebuild_tensor_v3;
        const bool odd = v3 && pickle_.item(value, 6).is(PickleKind::opaque);
        return odd ? pickle_.class_name(pickle_.item(value, 6)) : std::string();
    }

    /// The extents or strides of a tensor.
    EFFICIENTVIT_COLD std::vector<std::int64_t> read_extents(std::string_view name, const PickleValue& tuple,
                                                             std::string_view what) const {
        if (!tuple.is(PickleKind::tuple)) fail(name, {what, ": found ", pickle_.describe(tuple), ", expected a tuple"});
        if (tuple.count > most_dimensions) fail(name, {"more than ", std::to_string(most_dimensions), " dimensions"});
        std::vector<std::int64_t> out;
        for (std::size_t i = 0; i < tuple.count; ++i) {
            const PickleValue& extent = pickle_.item(tuple, i);
            if (!extent.is(PickleKind::integer) || extent.number < 0) {
                const std::string found =
                    extent.is(PickleKind::integer) ? std::to_string(extent.number) : pickle_.describe(extent);
                fail(name, {what, ": found ", found, ", expected integers >= 0"});
            }
            out.push_back(extent.number);
        }
        return out;
    }

    /// Reads and checks a tensor's description, and finds its storage in the archive.
    EFFICIENTVIT_COLD Layout read_layout(std::string_view name, const PickleValue& tensor, Entry& storage) const {
        const bool v3 = pickle_.global(tensor).role == PickleRole::rebuild_tensor_v3;
        const PickleValue& from = pickle_.item(tensor, 0);
        if (!from.is(PickleKind::storage)) fail(name, {"found ", pickle_.describe(from), ", expected a storage"});
        const PickleGlobal& type = pickle_.global(pickle_.item(from, 1));
        Layout out;
        out.dtype = type.dtype;
        if ((type.role == PickleRole::untyped_storage) != v3) fail(name, {"its storage's type is ", type.name});
        if (v3) {
            const PickleValue& dtype = pickle_.item(tensor, 6);
            if (!dtype.is(PickleKind::global) || pickle_.global(dtype).role != PickleRole::dtype) {
                fail(name, {"dtype: found ", pickle_.describe(dtype), ", expected one of torch's"});
            }
            out.dtype = pickle_.global(dtype).dtype;
        }
        // Set for conjugated and negated views, whose stored values are not those that the tensor has.
        const std::size_t last = v3 ? 7 : 6;
        if (tensor.count > last) {
            const PickleValue& metadata = pickle_.item(tensor, last);
            if (!metadata.is(PickleKind::dict) || pickle_.first(metadata) != nullptr) {
                fail(name, {"it has metadata, ", pickle_.describe(metadata), ", expected an empty dict"});
            }
        }
        storage = find_storage(name, from, dtype_size(type.dtype));

        const PickleValue& offset = pickle_.item(tensor, 1);
        if (!offset.is(PickleKind::integer) || offset.number < 0)
            fail(name, {"its storage offset is not an integer >= 0"});
        out.offset = static_cast<std::uint64_t>(offset.number);
        out.shape = read_extents(name, pickle_.item(tensor, 2), "shape");
        const std::vector<std::int64_t> strides = read_extents(name, pickle_.item(tensor, 3), "strides");
        out.strides.assign(strides.begin(), strides.end());
        const std::string shape = shape_text(out.shape);
        if (strides.size() != out.shape.size()) {
            fail(name, {std::to_string(strides.size()), " strides for the shape ", shape});
        }
        const auto count = element_count(out.shape);
        if (!count || *count > std::numeric_limits<std::size_t>::max() / 16) {
            fail(name, {"overflow: shape ", shape, " has more elements than can be counted"});
        }
        out.count = *count;
        if (out.count == 0) return out;
        const std::uint64_t room = storage.data.size() / dtype_size(out.dtype);
        out.reach = 1;
        for (std::size_t i = 0; i < strides.size(); ++i) {
            const auto steps = static_cast<std::uint64_t>(out.shape[i] - 1);
            if (steps > 0 && out.strides[i] > (room - std::min(room, out.reach)) / steps) out.reach = room + 1;
            if (out.reach <= room) out.reach += steps * out.strides[i];
        }
        if (out.reach > room || out.offset > room - out.reach) {
            fail(name,
                 {"shape ", shape, " with strides ", shape_text(strides), " from element ", std::to_string(out.offset),
                  " on reaches beyond its storage of ", std::to_string(room), " elements"});
        }
        return out;
    }

    EFFICIENTVIT_COLD Entry find_storage(std::string_view name, const PickleValue& storage, std::size_t size) const {
        const std::string_view key = pickle_.text(pickle_.item(storage, 2));
        const std::int64_t count = pickle_.item(storage, 4).number;
        // A number, by custom. Many tensors may share one key, so a long one would be copied many times.
        const ZipArchive::File* file = key.size() > 20 ? nullptr : archive_.find(concat({root_, "data/", key}));
        if (file == nullptr) fail(name, {"its storage ", in_quotes(key), " is not in the archive"});
        if (count < 0 || file->size % size != 0 || file->size / size != static_cast<std::uint64_t>(count)) {
            fail(name, {"its storage ", in_quotes(key), " has ", std::to_string(file->size), " bytes, expected ",
                        std::to_string(count), " elements of ", std::to_string(size)});
        }
        return archive_.bytes(*file);
    }

    static bool is_contiguous(const Layout& layout) {
        std::uint64_t expected = 1;
        for (std::size_t i = layout.shape.size(); i-- > 0;) {
            if (layout.shape[i] != 1 && layout.strides[i] != expected) return layout.count == 0;
            expected *= static_cast<std::uint64_t>(layout.shape[i]);
        }
        return true;
    }

    /// A copy of a tensor that is not contiguous, row-major.
    EFFICIENTVIT_COLD std::shared_ptr<const HeapStorage<std::vector<std::byte>>> gather(std::string_view name,
                                                                                        const Layout& layout,
                                                                                        const Entry& storage) {
        // A stride of 0 or a storage that many share could make much out of nothing.
        const std::uint64_t most = std::max(4 * std::uint64_t{archive_.size()}, std::uint64_t{1} << 20);
        const std::size_t size = dtype_size(layout.dtype);
        const auto reach = static_cast<std::size_t>(layout.reach);
        if (layout.count > most / size || (layout.count + layout.reach) * size > most - copied_) {
            fail(name, {"to lay out its shape ", shape_text(layout.shape), " and those before it takes more than ",
                        std::to_string(most), " bytes, 4 times the file; in Python save tensor.contiguous()"});
        }
        copied_ += (layout.count + layout.reach) * size;
        std::vector<std::byte> from(reach * size);
        read_bytes(storage, static_cast<std::size_t>(layout.offset) * size, from);

        std::vector<std::byte> to(static_cast<std::size_t>(layout.count) * size);
        std::array<std::int64_t, most_dimensions> index{};
        std::size_t at = 0;
        for (std::size_t done = 0; done < to.size(); done += size) {
            std::memcpy(to.data() + done, from.data() + at * size, size);
            for (std::size_t i = layout.shape.size(); i-- > 0;) {
                const auto stride = static_cast<std::size_t>(layout.strides[i]);
                at += stride;
                if (++index[i] < layout.shape[i]) break;
                at -= stride * static_cast<std::size_t>(layout.shape[i]);
                index[i] = 0;
            }
        }
        return std::make_shared<const HeapStorage<std::vector<std::byte>>>(std::move(to));
    }

    const ZipArchive& archive_;
    const Pickle& pickle_;
    const std::string& root_;
    std::uint64_t copied_ = 0;  // bytes read and made by gather()
    std::size_t names_ = 0;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
