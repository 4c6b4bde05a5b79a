# SPDX-License-Identifier: Apache-2.0
#
# efficientvit::compiled, a static library of what programs compile once: in the project around this file, with its
# compiler and flags, whether efficientvit was found, fetched or added. Its users' units define EFFICIENTVIT_COMPILED.
# efficientvit::c is on top of it, for C; efficientvit::c_shared is both as a shared library.
if(NOT TARGET efficientvit_compiled)
    add_library(efficientvit_compiled STATIC EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/kernels.cpp"
                                                              "${CMAKE_CURRENT_LIST_DIR}/models.cpp"
                                                              "${CMAKE_CURRENT_LIST_DIR}/sams.cpp")
    add_library(efficientvit::compiled ALIAS efficientvit_compiled)
    target_link_libraries(efficientvit_compiled PUBLIC efficientvit::efficientvit)
    target_compile_definitions(efficientvit_compiled PUBLIC EFFICIENTVIT_COMPILED)

    add_library(efficientvit_c_objects OBJECT EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/c.cpp")
    target_link_libraries(efficientvit_c_objects PRIVATE efficientvit_compiled)
    target_compile_definitions(efficientvit_c_objects PRIVATE EV_SHARED EV_BUILDING)
    add_library(efficientvit_c STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:efficientvit_c_objects>)
    add_library(efficientvit_c_shared SHARED EXCLUDE_FROM_ALL $<TARGET_OBJECTS:efficientvit_c_objects>)
    foreach(library IN ITEMS c c_shared)
        add_library(efficientvit::${library} ALIAS efficientvit_${library})
        # C has no use for C++'s flags and folders, so it gets the one folder that it needs.
        target_link_libraries(efficientvit_${library} PRIVATE efficientvit_compiled)
        target_include_directories(efficientvit_${library}
                                   INTERFACE "$<BUILD_INTERFACE:${CMAKE_CURRENT_LIST_DIR}/../..>")
        set_target_properties(efficientvit_${library} PROPERTIES LINKER_LANGUAGE CXX EXPORT_NAME ${library})
    endforeach()
    target_compile_definitions(efficientvit_c_shared INTERFACE EV_SHARED)
    file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/../c/efficientvit.h" efficientvit_abi REGEX "^#define EV_ABI_VERSION ")
    string(REGEX REPLACE ".* " "" efficientvit_abi "${efficientvit_abi}")
    get_property(efficientvit_has_shared GLOBAL PROPERTY TARGET_SUPPORTS_SHARED_LIBS)
    if(efficientvit_has_shared)  # else, for WebAssembly, CMake makes it static, beside the other
        set_target_properties(efficientvit_c_shared PROPERTIES OUTPUT_NAME efficientvit_c SOVERSION "${efficientvit_abi}")
    endif()
    if(APPLE)
        target_link_options(efficientvit_c_shared PRIVATE "LINKER:-exported_symbol,_ev_*")
    elseif(UNIX)
        target_link_options(efficientvit_c_shared PRIVATE
                            "LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/c.map" "LINKER:--no-undefined")
        set_target_properties(efficientvit_c_shared PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/c.map")
    endif()

    # Shared libraries, and Python's modules, are made of these too.
    set_target_properties(efficientvit_compiled efficientvit_c_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
    # Nobody debugs kernels, and unoptimised they take twenty to seventy times as long: optimised in debug builds, and
    # where neither a build type nor a flag says how much. Other build types and flags are as the project has them.
    if(NOT MSVC AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
        target_compile_options(efficientvit_compiled PRIVATE $<$<CONFIG:Debug>:-O2>)
        if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND NOT " ${CMAKE_CXX_FLAGS}" MATCHES " -O")
            target_compile_options(efficientvit_compiled PRIVATE -O2)
        endif()
    endif()
endif()
