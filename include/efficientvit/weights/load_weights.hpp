// SPDX-License-Identifier: Apache-2.0
//
// Weights from a file of any kind that this library reads, told by the first bytes: safetensors, the index of several
// of them, a PyTorch checkpoint. Optional; reads safetensors where nlohmann/json is there.
#pragma once

#include <efficientvit/weights/file_kind.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/torch_checkpoint.hpp>
#if __has_include(<nlohmann/json.hpp>)
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/sharded_index.hpp>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {
/// What was read from safetensors, which have no entries. Throws WeightsError where the options ask for one.
EFFICIENTVIT_COLD inline StateDict without_entry(StateDict weights, const TorchCheckpointOptions& options) {
    if (options.entry.empty()) return weights;
    throw WeightsError(concat({weights.source(), ": safetensors have no entry ", in_quotes(options.entry),
                               ", only PyTorch's checkpoints do; names below a prefix are for LoadOptions::prefix"}));
}
}  // namespace detail

/// Reads `*.safetensors`, `*.safetensors.index.json` with its shards, and what torch.save writes, whatever the file is
/// called. `options` are for checkpoints; an entry of safetensors is an error. Throws WeightsError as
/// load_safetensors() and load_torch_checkpoint() do; for a Git LFS pointer, a web page, an archive it says so.
EFFICIENTVIT_COLD inline StateDict load_weights(const std::filesystem::path& path,
                                                const TorchCheckpointOptions& options = {}) {
    const auto file = std::make_shared<const MappedFile>(path);
    const std::string first = detail::telling_part({DType::u8, {}, file->bytes(), file});
    const detail::FileKind kind = detail::file_kind(first);
    if (kind == detail::FileKind::torch) return load_torch_checkpoint(path, options);
#if __has_include(<nlohmann/json.hpp>)
    if (kind == detail::FileKind::index) {
        return detail::load_shards(path, *file, [&](const std::filesystem::path& shard) {
            // A shard that is an index would be read for ever.
            return is_torch_checkpoint(shard) ? load_torch_checkpoint(shard, options)
                                              : detail::without_entry(detail::load_one_safetensors(shard), options);
        });
    }
#endif
#if __has_include(<nlohmann/json.hpp>)
    return detail::without_entry(detail::map_safetensors(file), options);
#else
    detail::refuse_foreign(first, file->path());
    throw WeightsError(detail::concat({file->path(), ": compiled without nlohmann/json, which safetensors need"}));
#endif
}

namespace detail {
/// Whether a file's bytes are what torch.save writes. Throws WeightsError for what is known to be no weights.
EFFICIENTVIT_COLD inline bool holds_torch_checkpoint(std::span<const std::byte> bytes, const std::string& source) {
    const std::string first = telling_part({DType::u8, {}, bytes, nullptr});
    if (file_kind(first) == FileKind::torch) return true;
    refuse_foreign(first, source);
    return false;
}
}  // namespace detail

/// The same from a file's bytes, which are copied and may go afterwards; `source` names them in messages.
EFFICIENTVIT_COLD inline StateDict parse_weights(std::span<const std::byte> bytes, const std::string& source,
                                                 const TorchCheckpointOptions& options = {}) {
    if (detail::holds_torch_checkpoint(bytes, source)) return parse_torch_checkpoint(bytes, options);
#if __has_include(<nlohmann/json.hpp>)
    return detail::without_entry(parse_safetensors(bytes, source), options);
#else
    throw WeightsError(detail::concat({source, ": compiled without nlohmann/json, which safetensors need"}));
#endif
}

#if __has_include(<nlohmann/json.hpp>)
/// The same without a copy of safetensors, whose `bytes` must live as parse_safetensors_borrowed() says.
EFFICIENTVIT_COLD inline StateDict parse_weights_borrowed(std::span<const std::byte> bytes, const std::string& source,
                                                          const TorchCheckpointOptions& options = {}) {
    if (detail::holds_torch_checkpoint(bytes, source)) return parse_torch_checkpoint(bytes, options);
    return detail::without_entry(parse_safetensors_borrowed(bytes, source), options);
}
#endif

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
