# SPDX-License-Identifier: Apache-2.0
#
# Compiles one case as it should be and as it should not be: see CMakeLists.txt.

cmake_minimum_required(VERSION 3.21)

file(READ "${CASE}" text)
string(REGEX MATCH "\n// error: ([^\n]+)" matched "${text}")
set(sentence "${CMAKE_MATCH_1}")
string(REGEX MATCH "\n// flags: ([^\n]+)" matched "${text}")
separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_1}")
if(sentence STREQUAL "")
    message(FATAL_ERROR "${CASE} names no error")
endif()

set(compile "${COMPILER}" -std=c++20 -fsyntax-only "@${ARGUMENTS}" "${CASE}")
execute_process(COMMAND ${compile} RESULT_VARIABLE status ERROR_VARIABLE errors)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "does not compile even without the mistake:\n${errors}")
endif()

execute_process(COMMAND ${compile} -DWRONG ${flags} RESULT_VARIABLE status ERROR_VARIABLE errors)
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
