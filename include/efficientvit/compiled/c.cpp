// SPDX-License-Identifier: Apache-2.0
//
// What is behind <efficientvit/c/efficientvit.h>: compile it once, beside kernels.cpp, models.cpp and sams.cpp, all
// with EFFICIENTVIT_COMPILED and the same flags. With CMake, efficientvit::c and efficientvit::c_shared have all of
// them.
#include <efficientvit/c/efficientvit.h>
#include <efficientvit/build_info.hpp>
#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/models/mask_generator.hpp>
#include <efficientvit/models/pictures.hpp>
#include <efficientvit/runtime/call_pool.hpp>
#include <efficientvit/weights/load_weights.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/c/calls.inl>
#include <efficientvit/c/models.inl>
#include <efficientvit/c/sam.inl>
