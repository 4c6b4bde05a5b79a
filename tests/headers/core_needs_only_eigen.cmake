# SPDX-License-Identifier: Apache-2.0
#
# Lists every file that <efficientvit/efficientvit.hpp> includes: Eigen's must be there, the JSON library's must not.

cmake_minimum_required(VERSION 3.21)

file(WRITE core.cpp "#include <efficientvit/efficientvit.hpp>\n")
execute_process(COMMAND "${COMPILER}" -std=c++20 "@${ARGUMENTS}" -M core.cpp
                RESULT_VARIABLE status OUTPUT_VARIABLE files ERROR_VARIABLE errors)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "${errors}")
endif()
if(NOT files MATCHES "efficientvit/models/backbone.hpp" OR NOT files MATCHES "CXX11/Tensor")
    message(FATAL_ERROR "not what efficientvit.hpp includes:\n${files}")
endif()
if(files MATCHES "[^ ]*nlohmann[^ ]*")
    message(FATAL_ERROR "the core includes ${CMAKE_MATCH_0}")
endif()
