# SPDX-License-Identifier: Apache-2.0
#
# efficientvit::compiled, a static library of what programs compile once: in the project around this file, with its
# compiler and flags, whether efficientvit was found, fetched or added. Its users' units define EFFICIENTVIT_COMPILED.
if(NOT TARGET efficientvit_compiled)
    add_library(efficientvit_compiled STATIC EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/kernels.cpp"
                                                              "${CMAKE_CURRENT_LIST_DIR}/models.cpp")
    add_library(efficientvit::compiled ALIAS efficientvit_compiled)
    target_link_libraries(efficientvit_compiled PUBLIC efficientvit::efficientvit)
    target_compile_definitions(efficientvit_compiled PUBLIC EFFICIENTVIT_COMPILED)
    # Nobody debugs kernels, and unoptimised they take twenty to seventy times as long: optimised in debug builds, and
    # where neither a build type nor a flag says how much. Other build types and flags are as the project has them.
    if(NOT MSVC AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
        target_compile_options(efficientvit_compiled PRIVATE $<$<CONFIG:Debug>:-O2>)
        if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND NOT " ${CMAKE_CXX_FLAGS}" MATCHES " -O")
            target_compile_options(efficientvit_compiled PRIVATE -O2)
        endif()
    endif()
endif()
