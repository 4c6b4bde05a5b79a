// SPDX-License-Identifier: Apache-2.0
//
// Reads PyTorch checkpoints, the `.pt` and `.pth` that torch.save writes (the zip format, PyTorch 1.6 and later): from
// a file or from memory. Executes nothing, needs no Python and no other library. Optional; the archive is
// zip_archive.hpp's and the pickle in it pickle_machine.hpp's, which say what they accept.
//
// Nothing in a file is trusted. Beside the tensors in it a file costs at most some 40 times its pickle, which is 1 % of
// a published model.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/pickle_machine.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>
#include <efficientvit/weights/zip_archive.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Which part of a checkpoint is read.
struct TorchCheckpointOptions {
    /// The entry that holds the tensors, such as "ema"; those beside it are passed over. Where none is given: the
    /// entry `state_dict` if there is one, else the checkpoint itself.
    std::string entry{};
    /// Entries that are no part of the state dict (optimizer, epoch, …) are an error that names them; true passes them
    /// over.
    bool skip_extra_entries = false;
};

namespace detail {

/// Makes a StateDict of an archive.
class TorchCheckpoint {
public:
    EFFICIENTVIT_COLD TorchCheckpoint(Entry archive, const std::string& source)
        : archive_(std::move(archive), source), root_(find_root(archive_)), pickle_(read_pickle()) {
        const ZipArchive::File* order = archive_.find(concat({root_, "byteorder"}));
        if (order != nullptr && order->size == 3 && archive_.read(*order).front() == std::byte{'b'}) {
            archive_.fail({"saved on a big-endian machine, expected little-endian"});
        }
    }

    EFFICIENTVIT_COLD StateDict read(const TorchCheckpointOptions& options) {
        PickleValue from = pickle_.root();
        if (!from.is(PickleKind::dict)) archive_.fail({"holds ", pickle_.describe(from), ", expected a dict"});
        if (!options.entry.empty()) {
            const PickleValue* entry = pickle_.find(from, options.entry);
            if (entry == nullptr || !entry->is(PickleKind::dict)) {
                archive_.fail({"its entry ", in_quotes(options.entry), " is ",
                               entry == nullptr ? "missing" : pickle_.describe(*entry), ", expected a dict; it holds ",
                               list(from, [](const Pickle::Pair&) { return true; })});
            }
            from = *entry;
        }
        const PickleValue* inner = pickle_.find(from, "state_dict");
        const bool wrapped = inner != nullptr && inner->is(PickleKind::dict);
        const PickleValue state = wrapped ? *inner : from;

        StateDict out;
        out.set_source(archive_.source());
        for (const Pickle::Pair* pair = pickle_.first(state); pair != nullptr; pair = pickle_.next(*pair)) {
            if (is_tensor(*pair)) add(out, *pair);
        }
        const auto is_extra = [](const Pickle::Pair& pair) { return !is_tensor(pair); };
        const auto is_beside = [this](const Pickle::Pair& pair) {
            return !pair.key.is(PickleKind::string) || pickle_.text(pair.key) != "state_dict";
        };
        const std::string inside = list(state, is_extra);
        const std::string beside = wrapped ? list(from, is_beside) : "";
        if (inside.empty() && beside.empty()) return out;
        if (out.empty()) {
            archive_.fail({"no tensors where they are looked for; there it holds ", inside.empty() ? beside : inside,
                           "; if they are inside another entry, name it: {.entry = \"...\"}"});
        }
        if (!options.skip_extra_entries) {
            archive_.fail({"beside the ", std::to_string(out.size()), " tensors of its state dict it holds ", beside,
                           inside.empty() || beside.empty() ? "" : ", ", inside,
                           "; {.skip_extra_entries = true} passes them over, {.entry = \"...\"} reads one of them"});
        }
        return out;
    }

private:
    /// "name/" of the archive, which is what its files' names begin with.
    EFFICIENTVIT_COLD static std::string find_root(const ZipArchive& archive) {
        constexpr std::string_view pickle = "/data.pkl";
        for (const ZipArchive::File& file : archive.files()) {
            if (!file.name.ends_with(pickle) || file.name.find('/') != file.name.size() - pickle.size()) continue;
            const std::string root(file.name.substr(0, file.name.size() - pickle.size() + 1));
            if (archive.find(concat({root, "constants.pkl"})) != nullptr) {
                archive.fail({"a TorchScript program, which is not read: in Python save its state_dict()"});
            }
            return root;
        }
        archive.fail({"a zip archive, but not PyTorch's: no file <name>/data.pkl in it"});
    }

    EFFICIENTVIT_COLD Pickle read_pickle() const {
        const ZipArchive::File& file = *archive_.find(concat({root_, "data.pkl"}));
        if (file.size > PickleMachine::largest) {
            archive_.fail({"data.pkl: ", std::to_string(file.size), " bytes, expected at most ",
                           std::to_string(PickleMachine::largest)});
        }
        return PickleMachine(archive_.read(file), concat({archive_.source(), ": data.pkl"})).result();
    }

    static bool is_tensor(const Pickle::Pair& pair) {
        return pair.key.is(PickleKind::string) && pair.value.is(PickleKind::tensor);
    }

    /// The entries of a dict for which `wanted` is true, as a message names them.
    template <class Wanted>
    EFFICIENTVIT_COLD std::string list(const PickleValue& dict, Wanted wanted) const {
        constexpr std::size_t most = 20;
        std::string out;
        std::size_t count = 0;
        for (const Pickle::Pair* pair = pickle_.first(dict); pair != nullptr; pair = pickle_.next(*pair)) {
            if (!wanted(*pair) || ++count > most) continue;
            const bool named = pair->key.is(PickleKind::string);
            out +=
                concat({count > 1 ? ", " : "", named ? in_quotes(pickle_.text(pair->key)) : pickle_.describe(pair->key),
                        " (", pickle_.describe(pair->value), ")"});
        }
        return count > most ? concat({out, " and ", std::to_string(count - most), " more"}) : out;
    }

    // ---- Tensors ----

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

    EFFICIENTVIT_COLD void add(StateDict& out, const Pickle::Pair& pair) {
        const std::string name(pickle_.text(pair.key));
        Entry storage;
        Layout layout = read_layout(name, pair.value, storage);
        // A tensor's own description is longer; so short of malice only few names share one.
        names_ += 1 + layout.shape.size() / 8;
        if (names_ > pickle_.size() / 16 + 1) {
            fail(name,
                 {"there are more names than a pickle of ", std::to_string(pickle_.size()), " bytes has tensors for"});
        }
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
        const std::size_t metadata = v3 ? 7 : 6;
        if (tensor.count > metadata && pickle_.describe(pickle_.item(tensor, metadata)) != "a dict of 0") {
            fail(name, {"it has metadata, ", pickle_.describe(pickle_.item(tensor, metadata)), ", expected none"});
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
        const ZipArchive::File* file = archive_.find(concat({root_, "data/", key}));
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
        const std::size_t most = std::max(4 * archive_.size(), std::size_t{1} << 20);
        const std::size_t size = dtype_size(layout.dtype);
        const auto reach = static_cast<std::size_t>(layout.reach);
        if (layout.count > most / size || (layout.count + reach) * size > most - copied_) {
            fail(name, {"to lay out its shape ", shape_text(layout.shape), " and those before it takes more than ",
                        std::to_string(most), " bytes, 4 times the file; in Python save tensor.contiguous()"});
        }
        copied_ += (static_cast<std::size_t>(layout.count) + reach) * size;
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

    ZipArchive archive_;
    std::string root_;
    Pickle pickle_;
    std::size_t copied_ = 0;  // bytes read and made by gather()
    std::size_t names_ = 0;
};

/// Says of something that is no zip archive what it is, if that can be seen.
EFFICIENTVIT_COLD inline void check_is_zip(const Entry& file, const std::string& source) {
    std::array<std::byte, 9> first{};
    read_bytes(file, 0, std::span(first).first(std::min(first.size(), file.data.size())));
    const std::string_view text(reinterpret_cast<const char*>(first.data()), first.size());
    if (text.starts_with("PK\3\4")) return;
    const auto fail = [&source](std::string_view what) { throw WeightsError(concat({source, ": ", what})); };
    if (text.starts_with("\x80")) {
        fail(
            "a pickle that is not in a zip archive: PyTorch's format before version 1.6, which is not read; convert it "
            "in Python: torch.save(torch.load(path, map_location=\"cpu\", weights_only=True), path)");
    }
    if (text[8] == '{') fail("looks like safetensors, which load_safetensors() reads; expected a PyTorch checkpoint");
    fail("not a PyTorch checkpoint: does not begin as a zip archive does");
}

EFFICIENTVIT_COLD inline StateDict read_torch_checkpoint(std::span<const std::byte> bytes,
                                                         std::shared_ptr<const Storage> owner,
                                                         const std::string& source,
                                                         const TorchCheckpointOptions& options) {
    Entry archive{DType::u8, {}, bytes, std::move(owner)};
    check_is_zip(archive, source);
    return TorchCheckpoint(std::move(archive), source).read(options);
}

}  // namespace detail

/// Reads a checkpoint, with or without `state_dict` around its tensors. The file is mapped, not copied; the StateDict
/// and its copies keep the mapping. Tensors that are not contiguous are copied into row-major order; Parameters are
/// tensors, devices do not matter. Throws WeightsError, with the path, what was found and what was expected, if the
/// file cannot be read, asks for anything but tensors, or holds more than was asked for.
EFFICIENTVIT_COLD inline StateDict load_torch_checkpoint(const std::filesystem::path& path,
                                                         const TorchCheckpointOptions& options = {}) {
    const auto file = std::make_shared<const MappedFile>(path);
    return detail::read_torch_checkpoint(file->bytes(), file, file->path(), options);
}

/// Reads a checkpoint from memory and copies it, so that `bytes` may go afterwards. Throws like
/// load_torch_checkpoint().
EFFICIENTVIT_COLD inline StateDict parse_torch_checkpoint(std::span<const std::byte> bytes,
                                                          const TorchCheckpointOptions& options = {}) {
    using Bytes = HeapStorage<std::vector<std::byte>>;
    const auto copy = std::make_shared<const Bytes>(std::vector<std::byte>(bytes.begin(), bytes.end()));
    return detail::read_torch_checkpoint(copy->bytes(), copy, "checkpoint in memory", options);
}

EFFICIENTVIT_END_NAMESPACE
