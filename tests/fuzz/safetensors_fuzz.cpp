// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a safetensors file: read, or refused by a WeightsError with a message.
#include <efficientvit/weights/safetensors.hpp>

#include "check_entries.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace ev = efficientvit;
    // Once as it is, and once with a header that ends behind the first line: its length would be hard to guess.
    std::string fitting(8, '\0');
    if (size >= 8) {
        std::uint64_t length = size - 8;
        if (const void* end = std::memchr(data + 8, '\n', size - 8)) {
            length = static_cast<std::uint64_t>(static_cast<const std::uint8_t*>(end) - data - 7);
        }
        std::memcpy(fitting.data(), &length, 8);
        fitting.append(reinterpret_cast<const char*>(data) + 8, size - 8);
    }
    for (const auto bytes : {std::as_bytes(std::span(data, size)), std::as_bytes(std::span(fitting))}) {
        try {
            check_entries(ev::parse_safetensors(bytes));
        } catch (const ev::WeightsError& error) {
            if (std::string(error.what()).empty()) std::abort();
        }
    }
    return 0;
}
