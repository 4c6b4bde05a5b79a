# SPDX-License-Identifier: Apache-2.0
#
# Tests of the library's structure, not of what it computes: that it can be installed and found, that headers stand
# alone, that mistakes get their messages, that translation units can be mixed, what it costs to compile. Included by
# CMakeLists.txt beside it.

option(EFFICIENTVIT_STRUCTURE_TESTS "Test packaging, headers, error messages and mixed compiler flags" ON)
if(NOT EFFICIENTVIT_STRUCTURE_TESTS)
    return()
endif()
if(CMAKE_CROSSCOMPILING OR NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang" OR MSVC)
    message(STATUS "efficientvit: the structure tests are left out; they need a native g++ or clang++")
    return()
endif()

find_package(Python3 3.8 COMPONENTS Interpreter QUIET)
if(NOT Python3_FOUND)
    message(STATUS "efficientvit: no python3, so tests that read object files or measure the compiler are left out")
endif()

# Headers that can be included on their own: all but the parts of others.
file(GLOB_RECURSE efficientvit_headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include"
     "${PROJECT_SOURCE_DIR}/include/efficientvit/*.hpp")
list(FILTER efficientvit_headers EXCLUDE REGEX "(kernels/(isa/.*|target(_end)?)|foreign_macros(_end)?)\\.hpp$")
if(NOT TARGET nlohmann_json::nlohmann_json)
    list(FILTER efficientvit_headers EXCLUDE REGEX "weights/safetensors(_header)?\\.hpp$")
endif()

# Include folders for tests that call the compiler themselves, as a file of arguments.
add_library(efficientvit_probe OBJECT EXCLUDE_FROM_ALL structure.cpp)
target_link_libraries(efficientvit_probe PRIVATE efficientvit::efficientvit)
set(efficientvit_include_arguments "${CMAKE_CURRENT_BINARY_DIR}/include_arguments.txt")
file(GENERATE OUTPUT "${efficientvit_include_arguments}"
     CONTENT "-I\"$<JOIN:$<TARGET_PROPERTY:efficientvit_probe,INCLUDE_DIRECTORIES>,\"\n-I\">\"\n")

add_subdirectory(headers)
add_subdirectory(macros)
add_subdirectory(compile_fail)
add_subdirectory(odr)
if(TARGET nlohmann_json::nlohmann_json)
    add_subdirectory(compiled)
endif()
add_subdirectory(processes)
add_subdirectory(plugins)
add_subdirectory(spills)
add_subdirectory(package)
add_subdirectory(cross)
add_subdirectory(embedded)
add_subdirectory(budget)
