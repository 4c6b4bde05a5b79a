# SPDX-License-Identifier: Apache-2.0
#
# Compiles one case as it should not be: see CMakeLists.txt.

cmake_minimum_required(VERSION 3.21)

file(READ "${CASE}" text)
string(REGEX MATCH "\n// error: ([^\n]+)" matched "${text}")
set(sentence "${CMAKE_MATCH_1}")
string(REGEX MATCH "\n// flags: ([^\n]+)" matched "${text}")
separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_1}")
if(sentence STREQUAL "")
    message(FATAL_ERROR "${CASE} names no error")
endif()

if(EXISTS "${PRECOMPILED}")
    set(library "-I${PRECOMPILED}" -include efficientvit/efficientvit.hpp)
endif()
# EFFICIENTVIT_COMPILED: without the kernels, which would only take time.
execute_process(COMMAND "${COMPILER}" -std=c++20 -fsyntax-only -DEFFICIENTVIT_COMPILED ${library} "@${ARGUMENTS}"
                        "${CASE}" -DWRONG ${flags}
                RESULT_VARIABLE status ERROR_VARIABLE errors)
if(status EQUAL 0)
    message(FATAL_ERROR "compiles; expected: ${sentence}")
endif()
string(FIND "${errors}" "${sentence}" found)
if(found EQUAL -1)
    message(FATAL_ERROR "fails for another reason; expected: ${sentence}\nfound:\n${errors}")
endif()
string(REGEX MATCHALL "error:" all "${errors}")
list(LENGTH all count)
message(STATUS "${sentence} (${count} errors in all)")
