# SPDX-License-Identifier: Apache-2.0
#
# One way of using the library, named by WAY: see CMakeLists.txt. Runs in the build folder; works in folders below it.

cmake_minimum_required(VERSION 3.21)

unset(ENV{DESTDIR})
set(here "${CMAKE_CURRENT_LIST_DIR}")
set(prefix "${CMAKE_CURRENT_BINARY_DIR}/the prefix") # with spaces, as all folders here
set(build "${CMAKE_CURRENT_BINARY_DIR}/by ${WAY}")
set(configure "${CMAKE_COMMAND}" -G "${GENERATOR}" -C "${CACHE}" -DFETCHCONTENT_FULLY_DISCONNECTED=ON)
file(REMOVE_RECURSE "${build}")
file(MAKE_DIRECTORY "${build}")

function(run)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${build}" RESULT_VARIABLE status OUTPUT_VARIABLE text
                    ERROR_VARIABLE text)
    message("${text}")
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "failed: ${ARGN}")
    endif()
    set(text "${text}" PARENT_SCOPE)
endfunction()

# Configures, builds and runs the consumer.
function(consume)
    run(${configure} -S "${here}/consumer" -B . "-DWAY=${WAY}" "-DCHECKOUT=${CHECKOUT}" ${ARGN})
    set(text "${text}" PARENT_SCOPE)
    run("${CMAKE_COMMAND}" --build . --config Debug)
    if(EXISTS "${build}/Debug")
        run(Debug/consumer)
    else()
        run(./consumer)
    endif()
endfunction()

if(WAY STREQUAL "install")
    # A plain configuration, on a machine that has nothing but Eigen, of a checkout that has nothing but the library; never
    # built. Moved after it is installed: nothing in it may know the place that it was made for.
    set(first "${CMAKE_CURRENT_BINARY_DIR}/first_prefix")
    file(REMOVE_RECURSE "${prefix}" "${first}")
    file(COPY "${CHECKOUT}/CMakeLists.txt" "${CHECKOUT}/LICENSE" "${CHECKOUT}/include" DESTINATION "${build}/the source")
    set(only_eigen "")
    foreach(package IN ITEMS GTest nlohmann_json JPEG PNG benchmark OpenCV MPI Python3)
        list(APPEND only_eigen -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
    endforeach()
    run(${configure} -S "the source" -B "the build" "-DCMAKE_INSTALL_PREFIX=${first}" ${only_eigen})
    run("${CMAKE_COMMAND}" --install "the build")
    file(RENAME "${first}" "${prefix}")
    file(GLOB_RECURSE installed RELATIVE "${prefix}/include" "${prefix}/include/*")
    file(GLOB_RECURSE wanted RELATIVE "${CHECKOUT}/include" "${CHECKOUT}/include/*")
    if(NOT installed STREQUAL wanted OR installed STREQUAL "")
        message(FATAL_ERROR "installed: ${installed}\nwanted: ${wanted}")
    endif()
    file(GLOB_RECURSE made "${prefix}/share/*")
    foreach(path IN LISTS made)
        file(READ "${path}" content)
        if(content MATCHES "first_prefix|the source|${CHECKOUT}")
            message(FATAL_ERROR "${path} knows the folder ${CMAKE_MATCH_0}")
        endif()
    endforeach()

elseif(WAY STREQUAL "testing")
    # BUILD_TESTING=OFF leaves the tests out, whatever else asks for them, and ON asks for them.
    foreach(asked IN ITEMS "OFF;-DEFFICIENTVIT_BUILD_TESTS=ON" "OFF" "ON")
        list(POP_FRONT asked testing)
        file(REMOVE_RECURSE "${build}/tree")
        run(${configure} -S "${CHECKOUT}" -B tree -DBUILD_TESTING=${testing} ${asked})
        execute_process(COMMAND "${CMAKE_COMMAND}" --build tree --target help WORKING_DIRECTORY "${build}" OUTPUT_VARIABLE text)
        if(testing STREQUAL "OFF" AND text MATCHES "kernels_test" OR testing STREQUAL "ON" AND NOT text MATCHES "kernels_test")
            message(FATAL_ERROR "BUILD_TESTING=${testing} ${asked}: ${text}")
        endif()
    endforeach()

elseif(WAY STREQUAL "optimised")
    # The kernels of efficientvit::compiled, and only these, are optimised in a debug build, and where nothing says how
    # much; flags and build types that do say it are obeyed.
    foreach(case IN ITEMS "Debug;;-O2" "Debug;-O0;-O2" ";;-O2" ";-O1;-O1" "Release;;-O3" "MinSizeRel;;-Os")
        list(POP_FRONT case type flags level)
        run(${configure} -S "${here}/consumer" -B . -DWAY=compiled "-DCMAKE_PREFIX_PATH=${prefix}" "-DVERSION=${VERSION}"
            "-DCMAKE_BUILD_TYPE=${type}" "-DCMAKE_CXX_FLAGS=${flags}" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DBUILD_TYPE_GIVEN=ON)
        file(READ "${build}/compile_commands.json" commands)
        string(REGEX MATCHALL "\"command\": [^\n]*kernels.cpp" command "${commands}")
        string(REGEX MATCHALL " -O[a-z0-9]*" levels "${command}")
        list(POP_BACK levels last)
        if(NOT last STREQUAL " ${level}")
            message(FATAL_ERROR "build type '${type}', flags '${flags}': ${command}")
        endif()
        string(REGEX MATCH "\"command\": [^\n]*consumer.cpp" command "${commands}")
        if(type STREQUAL "Debug" AND command MATCHES "-O2")
            message(FATAL_ERROR "${command}")
        endif()
    endforeach()

elseif(WAY STREQUAL "toolchain")
    # Installed for another machine, by a toolchain file of the usual kind.
    file(WRITE "${build}/aarch64.cmake" "set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR aarch64)\n"
         "set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)\nset(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)\n")
    run("${CMAKE_COMMAND}" -G "${GENERATOR}" -S "${CHECKOUT}" -B tree "-DCMAKE_TOOLCHAIN_FILE=${build}/aarch64.cmake"
        "-DCMAKE_INSTALL_PREFIX=${build}/for aarch64" -DFETCHCONTENT_FULLY_DISCONNECTED=ON)
    run("${CMAKE_COMMAND}" --install tree)
    if(NOT EXISTS "${build}/for aarch64/share/cmake/efficientvit/efficientvitConfig.cmake")
        message(FATAL_ERROR "not where CMAKE_INSTALL_PREFIX says")
    endif()

elseif(WAY STREQUAL "find_package")
    consume("-DCMAKE_PREFIX_PATH=${prefix}" "-DVERSION=${VERSION}")

elseif(WAY STREQUAL "compiled")
    # The kernels in a library of their own, which the installed package makes in the consumer's project; so for pictures.
    consume("-DCMAKE_PREFIX_PATH=${prefix}" "-DVERSION=${VERSION}")
    if(CODEC)
        find_program(pictures NAMES pictures PATHS "${build}" "${build}/Debug" NO_DEFAULT_PATH REQUIRED)
        run("${pictures}")
    endif()

elseif(WAY STREQUAL "deb")
    # As an administrator would, but for where it is unpacked.
    run(${configure} -S "${CHECKOUT}" -B .)
    run("${CPACK}" -G DEB)
    set(deb "${build}/libefficientvit-dev_${VERSION}_all.deb")
    run("${DPKG_DEB}" -f "${deb}" Architecture Depends Recommends)
    if(NOT text STREQUAL
       "Architecture: all\nDepends: libeigen3-dev (>= 3.4)\nRecommends: nlohmann-json3-dev, libjpeg-dev, libpng-dev\n")
        message(FATAL_ERROR "not what the package should say of itself")
    endif()
    run("${DPKG_DEB}" -x "${deb}" "${build}/root")
    if(NOT EXISTS "${build}/root/usr/share/doc/libefficientvit-dev/copyright")
        message(FATAL_ERROR "no copyright file")
    endif()
    set(build "${build}/consumer")
    file(MAKE_DIRECTORY "${build}")
    set(WAY find_package)
    consume("-DCMAKE_PREFIX_PATH=${CMAKE_CURRENT_BINARY_DIR}/by deb/root/usr" "-DVERSION=${VERSION}")

elseif(WAY STREQUAL "version")
    # While the major version is 0, another minor version is another interface.
    string(REGEX MATCH "^([0-9]+)\\.([0-9]+)\\.([0-9]+)$" matched "${VERSION}")
    math(EXPR next_minor "${CMAKE_MATCH_2} + 1")
    math(EXPR next_patch "${CMAKE_MATCH_3} + 1")
    set(major "${CMAKE_MATCH_1}")
    set(minor "${CMAKE_MATCH_2}")
    set(PACKAGE_FIND_NAME efficientvit)
    foreach(case IN ITEMS "${major}.${minor}=TRUE" "${VERSION}=TRUE" "${major}.${minor}.${next_patch}=FALSE"
                          "${major}.${next_minor}=FALSE" "1.0=FALSE")
        string(REGEX MATCH "^(([0-9]+)\\.([0-9]+).*)=(.*)$" matched "${case}")
        set(PACKAGE_FIND_VERSION "${CMAKE_MATCH_1}")
        set(PACKAGE_FIND_VERSION_MAJOR "${CMAKE_MATCH_2}")
        set(PACKAGE_FIND_VERSION_MINOR "${CMAKE_MATCH_3}")
        set(expected "${CMAKE_MATCH_4}")
        set(CMAKE_SIZEOF_VOID_P 4) # header-only: what was installed on a 64-bit machine serves a 32-bit one
        set(PACKAGE_VERSION_COMPATIBLE FALSE)
        set(PACKAGE_VERSION_UNSUITABLE FALSE)
        include("${prefix}/share/cmake/efficientvit/efficientvitConfigVersion.cmake")
        if(PACKAGE_VERSION_UNSUITABLE OR NOT PACKAGE_VERSION_COMPATIBLE STREQUAL expected)
            message(FATAL_ERROR "asked for ${PACKAGE_FIND_VERSION}: compatible is ${PACKAGE_VERSION_COMPATIBLE}")
        endif()
        message(STATUS "${PACKAGE_FIND_VERSION}: ${PACKAGE_VERSION_COMPATIBLE}")
    endforeach()

elseif(WAY STREQUAL "fetch_content")
    consume()

elseif(WAY STREQUAL "add_subdirectory")
    # On a machine that has neither Eigen nor JSON: both come by FetchContent, here from folders.
    set(fetched -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON "-DFETCHCONTENT_SOURCE_DIR_EIGEN3=${EIGEN}"
                -DEFFICIENTVIT_INSTALL=ON)
    if(JSON MATCHES "/include$")
        list(APPEND fetched -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON -DEFFICIENTVIT_FETCH_JSON=ON
                            "-DFETCHCONTENT_SOURCE_DIR_NLOHMANN_JSON=${JSON}/..")
    endif()
    consume(${fetched})
    if(NOT text MATCHES "installing is off")
        message(FATAL_ERROR "no message about installing")
    endif()
    if(EXISTS "${build}/efficientvit/efficientvitConfig.cmake")
        message(FATAL_ERROR "installation rules, though Eigen was fetched")
    endif()

elseif(WAY STREQUAL "compiler")
    run("${COMPILER}" -std=c++20 -O2 "@${ARGUMENTS}" "-I${here}/.." "${here}/consumer/consumer.cpp" -o consumer -pthread)
    run(./consumer)

elseif(WAY STREQUAL "single_header")
    # Nothing of the checkout but the one header and the consumer, which includes it in place of all others.
    run("${PYTHON}" "${CHECKOUT}/.tools/single_header.py" efficientvit.hpp)
    file(READ "${here}/consumer/consumer.cpp" consumer)
    string(REGEX REPLACE "#include <efficientvit/[^>]*>" "#include \"efficientvit.hpp\"" consumer "${consumer}")
    file(WRITE "${build}/consumer.cpp" "${consumer}")
    file(WRITE "${build}/kernels.cpp" "#define EFFICIENTVIT_IMPLEMENTATION\n#include \"efficientvit.hpp\"\n")
    file(COPY "${here}/../golden_values.hpp" DESTINATION "${build}")
    set(flags -std=c++20 -O1 "-I${EIGEN}")
    if(NOT JSON STREQUAL "")
        list(APPEND flags "-I${JSON}")
    endif()
    run("${COMPILER}" ${flags} consumer.cpp -o consumer -pthread)
    run(./consumer)
    # And with the kernels in a unit of their own, by another compiler where there is one.
    find_program(other NAMES clang++)
    if(NOT other)
        set(other "${COMPILER}")
    endif()
    run("${other}" ${flags} -DEFFICIENTVIT_COMPILED consumer.cpp kernels.cpp -o consumer_compiled -pthread)
    run(./consumer_compiled)
    # Pictures: a unit that has the codec too, below the declarations that it belongs to.
    if(CODEC)
        file(WRITE "${build}/pictures.cpp" [[
#define EFFICIENTVIT_CODEC_IMPLEMENTATION
#include "efficientvit.hpp"
int main() {
    efficientvit::Image image({2, 3});
    image.bytes()[4] = 200;
    const efficientvit::Image same = efficientvit::decode_image(efficientvit::encode_png(image));
    return same.size().width == 3 && same.bytes()[4] == 200 ? 0 : 1;
}
]])
        run("${COMPILER}" ${flags} -O0 -DEFFICIENTVIT_COMPILED pictures.cpp -o pictures -ljpeg -lpng)
        run(./pictures)
    endif()

elseif(WAY STREQUAL "pkg_config")
    set(ENV{PKG_CONFIG_PATH} "${prefix}/share/pkgconfig:$ENV{PKG_CONFIG_PATH}")
    run("${PKG_CONFIG}" --modversion efficientvit)
    if(NOT text STREQUAL "${VERSION}\n")
        message(FATAL_ERROR "expected ${VERSION}")
    endif()
    run("${PKG_CONFIG}" --cflags --libs efficientvit)
    if(NOT text MATCHES "-pthread")
        message(FATAL_ERROR "no -pthread")
    endif()
    separate_arguments(flags UNIX_COMMAND "${text}")
    set(json "")
    if(NOT JSON STREQUAL "")
        set(json "-I${JSON}")
    endif()
    run("${COMPILER}" -std=c++20 "${here}/consumer/consumer.cpp" -o consumer ${flags} ${json} "-I${here}/..")
    run(./consumer)

else()
    message(FATAL_ERROR "WAY is '${WAY}'")
endif()
