# SPDX-License-Identifier: Apache-2.0
#
# Installs the shared library of the build BUILD, moves it, and uses it as projects do that know neither C++ nor Eigen.
cmake_minimum_required(VERSION 3.21)

set(here "${CMAKE_CURRENT_LIST_DIR}")
set(work "${CMAKE_CURRENT_BINARY_DIR}/installed")
set(prefix "${work}/the prefix")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}/consumer" "${work}/build")

function(run)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${work}" RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
    message("${text}")
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "failed: ${ARGN}")
    endif()
    set(text "${text}" PARENT_SCOPE)
endfunction()

run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${work}/first")
file(RENAME "${work}/first" "${prefix}")

file(COPY "${here}/c_test.c" DESTINATION "${work}/consumer")
file(WRITE "${work}/consumer/CMakeLists.txt" [[
cmake_minimum_required(VERSION 3.21)
project(consumer LANGUAGES C)
find_package(efficientvit_c 0.1 REQUIRED)
find_package(Threads REQUIRED)
add_executable(consumer c_test.c)
target_link_libraries(consumer PRIVATE efficientvit::c_shared Threads::Threads)
]])
run("${CMAKE_COMMAND}" -G "${GENERATOR}" -S consumer -B build "-DCMAKE_C_COMPILER=${COMPILER}" "-DCMAKE_PREFIX_PATH=${prefix}")
run("${CMAKE_COMMAND}" --build build)
run(build/consumer "${FILES}")

if(PKG_CONFIG)
    set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig")
    run("${PKG_CONFIG}" --cflags --libs efficientvit_c)
    separate_arguments(flags UNIX_COMMAND "${text}")
    file(WRITE "${work}/version.c" "#include <efficientvit/c/efficientvit.h>\n#include <stdio.h>\n"
         "int main(void) { return puts(ev_version()) < 0 || ev_abi_version() != EV_ABI_VERSION; }\n")
    run("${COMPILER}" version.c -o version ${flags} "-Wl,-rpath,${prefix}/${LIBDIR}")
    run("${work}/version")
endif()
