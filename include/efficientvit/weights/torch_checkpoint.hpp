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
#include <efficientvit/weights/checkpoint_entries.hpp>
#include <efficientvit/weights/file_kind.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/pickle_machine.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>
#include <efficientvit/weights/torch_tensors.hpp>
#include <efficientvit/weights/zip_archive.hpp>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Which part of a checkpoint is read.
struct TorchCheckpointOptions {
    /// The entry that holds the tensors, such as "ema"; those beside it are passed over. Keys and list indices with
    /// dots between them lead to any depth: "checkpoint.ema.0.9998", "models.1". Where none is given: the checkpoint
    /// itself. There, or in the entry, the tensors are those of `state_dict` if there is one, else its own, else those
    /// of the only dict within that has some. Dicts of so few tensors that another has eight times as many do not
    /// count.
    std::string entry{};
    /// Whatever else there is (optimizer, epoch, arguments, objects of any class) is an error that names it; true
    /// passes it over.
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
        const CheckpointEntries entries(pickle_);
        const PickleValue from = find_entry(entries, options.entry);
        const CheckpointEntries::Lead lead = entries.lead(from);
        if (lead.count > 1) {
            archive_.fail({"tensors are in several of its entries: ", entries.list_leads(from, options.entry),
                           "; name one: {.entry = \"...\"}"});
        }
        std::string beside;  // on the way to the tensors
        PickleValue state = from;
        const auto add = [&beside](const std::string& extra) {
            beside += concat({beside.empty() || extra.empty() ? "" : ", ", extra});
        };
        for (auto pair = lead.way.rbegin(); pair != lead.way.rend(); ++pair) {
            add(entries.list(state, true, *pair));
            state = (*pair)->value;
        }
        add(entries.list(state, false));

        StateDict out;
        out.set_source(archive_.source());
        TorchTensors tensors(archive_, pickle_, root_);
        for (const Pickle::Pair* pair = pickle_.first(state); pair != nullptr; pair = pickle_.next(*pair)) {
            if (entries.is_tensor(*pair)) tensors.add(out, *pair);
        }
        if (beside.empty()) return out;
        if (lead.count == 0) {
            archive_.fail({"no tensors by name in ", options.entry.empty() ? "it" : in_quotes(options.entry),
                           "; it holds ", beside});
        }
        if (!options.skip_extra_entries) {
            archive_.fail({"beside the ", std::to_string(out.size()), " tensors of its state dict it holds ", beside,
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
        if (root.empty()) {
            archive.fail({"a zip archive, but not PyTorch's: no file <name>/data.pkl in it",
                          archive.files().size() != 1 ? "" : "; unpack it, if what you want is in it"});
        }
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

    /// What `path` names, or the checkpoint itself where it is empty: a dict or a list.
    EFFICIENTVIT_COLD PickleValue find_entry(const CheckpointEntries& entries, const std::string& path) const {
        const PickleValue& root = pickle_.root();
        if (path.empty()) {
            if (!Pickle::is_container(root)) {
                archive_.fail({"holds ", pickle_.describe(root), ", expected a dict",
                               root.is(PickleKind::opaque)
                                   ? ": in Python save the state_dict() of a model, or dict() of what is like a dict"
                                   : ""});
            }
            return root;
        }
        const CheckpointEntries::Named named = entries.find(root, path);
        if (named.values.size() == 1 && Pickle::is_container(named.values.front())) return named.values.front();
        std::string found;
        for (const PickleValue& value : named.values)
            found += concat({found.empty() ? "" : " or ", pickle_.describe(value)});
        archive_.fail(
            {"its entry ", in_quotes(path), " is ", found.empty() ? "missing" : found, ", expected a dict; ",
             named.followed.empty() ? "it" : in_quotes(named.followed), " holds ",
             Pickle::is_container(named.last) ? entries.list(named.last, true) : pickle_.describe(named.last)});
    }

    ZipArchive archive_;
    std::string root_;
    Pickle pickle_;
};

/// Says of something that is no zip archive what it is, if that can be seen.
EFFICIENTVIT_COLD inline void check_is_zip(const Entry& file, const std::string& source) {
    const std::string first = telling_part(file);
    const std::string_view text = first;
    if (text.starts_with("PK\3\4")) return;
    refuse_foreign(text, source);
    const auto fail = [&source](std::string_view what) { throw WeightsError(concat({source, ": ", what})); };
    if (text.starts_with("\x80")) {
        // What torch.save wrote first then: the number 0x1950a86a20f9469cfc6c, behind two bytes or, in a frame, eleven.
        // Tensors that pickle.dump wrote hold it too, further on.
        constexpr std::string_view magic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
        fail(text.substr(0, 32).find(magic) == std::string_view::npos
                 ? "a pickle that torch.save did not write; convert it in Python: "
                   "torch.save(pickle.load(open(path, \"rb\")), path)"
                 : "a pickle that is not in a zip archive: PyTorch's format before version 1.6, which is not read; "
                   "convert it in Python: torch.save(torch.load(path, map_location=\"cpu\", weights_only=True), path)");
    }
    if (text.size() > 8 && text[8] == '{') {
        fail("looks like safetensors, which load_safetensors() reads; expected a PyTorch checkpoint");
    }
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

/// Whether the file is PyTorch's, by its first bytes: a zip archive, or a pickle of the format before 1.6. Throws
/// WeightsError if it cannot be read, or is known to be neither PyTorch's nor safetensors (a web page, a Git LFS
/// pointer).
EFFICIENTVIT_COLD inline bool is_torch_checkpoint(const std::filesystem::path& path) {
    const auto file = std::make_shared<const MappedFile>(path);
    const std::string first = detail::telling_part({DType::u8, {}, file->bytes(), file});
    detail::refuse_foreign(first, file->path());
    return detail::file_kind(first) == detail::FileKind::torch;
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

#include <efficientvit/foreign_macros_end.hpp>
