// SPDX-License-Identifier: Apache-2.0
//
// All published networks but whole SAMs, for programs that use model_handle.hpp or compiled/networks.hpp: compile it
// once. With EFFICIENTVIT_COMPILED it takes its kernels from kernels.cpp, else it has its own. With CMake,
// efficientvit::compiled has both.
#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/models/model_handle.inl>

EFFICIENTVIT_BEGIN_NAMESPACE

const char* compiled::model_name(std::size_t index) {
    const auto models = detail::known_models();
    return index < models.size() ? models[index].name : nullptr;
}
std::unique_ptr<AnyModel> compiled::make_model(std::string_view name) { return efficientvit::make_model(name); }
std::string compiled::identified(const StateDict& weights, std::string_view prefix) {
    return detail::identified(weights, prefix);
}

EFFICIENTVIT_END_NAMESPACE
