// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a PyTorch checkpoint: read, or refused by a WeightsError with a message. Bytes that do not begin as a
// zip archive are taken for a pickle and get a good archive around them.
#include <efficientvit/weights/torch_checkpoint.hpp>

#include "../weights/torch_files.hpp"
#include "check_entries.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace ev = efficientvit;
    std::string content(reinterpret_cast<const char*>(data), size);
    if (!content.starts_with("PK")) {
        Zip zip = checkpoint_of(content);
        for (const int key : {1, 2, 3, 4, 5}) {
            zip.members.push_back({.name = "m/data/" + std::to_string(key),
                                   .data = std::string(static_cast<std::size_t>(8 * key), '\x3f')});
        }
        content = zip.bytes();
    }
    for (const ev::TorchCheckpointOptions& options :
         {ev::TorchCheckpointOptions{}, {.skip_extra_entries = true}, {.entry = "ema", .skip_extra_entries = true}}) {
        try {
            check_entries(ev::parse_torch_checkpoint(std::as_bytes(std::span(content)), options));
        } catch (const ev::WeightsError& error) {
            if (std::string(error.what()).empty()) std::abort();
        }
    }
    return 0;
}
