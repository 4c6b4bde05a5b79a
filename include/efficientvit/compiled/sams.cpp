// SPDX-License-Identifier: Apache-2.0
//
// All published SAMs, for programs that use compiled/networks.hpp: compile it once, as models.cpp.
#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/models/make_sam.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

std::unique_ptr<AnySam> compiled::make_sam(std::string_view name) { return efficientvit::make_sam(name); }

EFFICIENTVIT_END_NAMESPACE
