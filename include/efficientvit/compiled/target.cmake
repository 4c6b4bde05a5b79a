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
endif()
