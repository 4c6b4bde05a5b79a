// SPDX-License-Identifier: Apache-2.0
//
// What must hold of every state dict that a parser gives, whatever the file was.
#pragma once

#include <efficientvit/weights/state_dict.hpp>

#include <cstdlib>

inline void check_entries(const efficientvit::StateDict& dict) {
    namespace ev = efficientvit;
    for (const auto& [name, entry] : dict) {
        const auto count = ev::detail::element_count(entry.shape);
        if (!count || *count != entry.element_count()) std::abort();
        if (*count * ev::dtype_size(entry.dtype) != entry.data.size()) std::abort();
        if (ev::to_float(entry).size() != *count) std::abort();  // reads every byte, which ASan watches
    }
}
