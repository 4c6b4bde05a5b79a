// SPDX-License-Identifier: Apache-2.0
//
// Reads PyTorch checkpoints, the `.pt` and `.pth` that torch.save writes (the zip format, PyTorch 1.6 and later): from
// a file or from memory. Executes nothing, needs no Python and no other library. Optional; the archive is
// zip_archive.hpp's and the pickle in it pickle_machine.hpp's, which say what they accept.
//
// Nothing in a file is trusted. Beside its tensors a file costs at most 29 times the pickle in it, which is 1 % of a
// published model and costs 5 times; see pickle.hpp.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/pickle_machine.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>
#include <efficientvit/weights/torch_tensors.hpp>
#include <efficientvit/weights/zip_archive.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
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

    EFFICIENTVIT_COLD StateDict read(const TorchCheckpointOptions& options) const {
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
        TorchTensors tensors(archive_, pickle_, root_);
        for (const Pickle::Pair* pair = pickle_.first(state); pair != nullptr; pair = pickle_.next(*pair)) {
            if (is_tensor(*pair)) tensors.add(out, *pair);
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
        std::string root;
        for (const ZipArchive::File& file : archive.files()) {
            if (!file.name.ends_with(pickle) || file.name.find('/') != file.name.size() - pickle.size()) continue;
            if (!root.empty()) archive.fail({"two checkpoints in one zip archive, ", in_quotes(root), " and another"});
            root = file.name.substr(0, file.name.size() - pickle.size() + 1);
        }
        if (root.empty()) archive.fail({"a zip archive, but not PyTorch's: no file <name>/data.pkl in it"});
        if (archive.find(concat({root, "constants.pkl"})) != nullptr) {
            archive.fail({"a TorchScript program, which is not read: in Python save its state_dict()"});
        }
        return root;
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

    ZipArchive archive_;
    std::string root_;
    Pickle pickle_;
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

/// Whether the extension says PyTorch's (.pt, .pth, .bin) or safetensors. Throws WeightsError if it says neither.
EFFICIENTVIT_COLD inline bool is_torch_checkpoint(const std::filesystem::path& path) {
    const std::filesystem::path extension = path.extension();
    if (extension == ".pt" || extension == ".pth" || extension == ".bin") return true;
    if (extension == ".safetensors") return false;
    throw WeightsError(
        detail::concat({detail::path_text(path), ": weights are read from .safetensors, .pt, .pth and .bin files"}));
}

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
