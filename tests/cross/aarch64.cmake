# SPDX-License-Identifier: Apache-2.0
#
# Builds the preset aarch64, with a GoogleTest of its own, and runs its tests: see CMakeLists.txt. Runs in the build
# folder; what is built there stays for the next time.

cmake_minimum_required(VERSION 3.21)

set(prefix "${CMAKE_CURRENT_BINARY_DIR}/googletest")
set(build "${CMAKE_CURRENT_BINARY_DIR}/build")
unset(ENV{DESTDIR})

function(run)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${CHECKOUT}" RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "failed: ${ARGN}")
    endif()
endfunction()

if(NOT EXISTS "${prefix}")
    set(from "${CMAKE_CURRENT_BINARY_DIR}/googletest-build")
    run("${CMAKE_COMMAND}" -S "${GOOGLETEST}" -B "${from}" -G Ninja -DCMAKE_SYSTEM_NAME=Linux
        -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc
        -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF)
    run("${CMAKE_COMMAND}" --build "${from}")
    run("${CMAKE_COMMAND}" --install "${from}" --prefix "${prefix}")
endif()

run("${CMAKE_COMMAND}" --preset aarch64 -B "${build}" "-DCMAKE_PREFIX_PATH=${prefix}")
run("${CMAKE_COMMAND}" --build "${build}" --parallel 2 --target kernels_test golden_test numerics_test)
# Small networks and images only: an emulated second is long, and at these sizes too attention is linear in some stages.
set(ENV{GTEST_FILTER} "-*Backbone224*:*Classifier*:*GoldenSam.XL*:*GoldenSam.L2*:*GoldenL.L2*:*GoldenL.L3*:*GoldenSeg.?[23]*:*GoldenSamPrompt*/scalar:*GoldenSamPrompt.Batch*:*GoldenSamPrompt.PointsSingle*:*GoldenSamPrompt.Box*")
run("${CMAKE_CTEST_COMMAND}" --test-dir "${build}" -R "^(kernels|golden|numerics)\\." --output-on-failure --no-tests=error)
