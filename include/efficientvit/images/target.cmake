# SPDX-License-Identifier: Apache-2.0
#
# efficientvit::codec, a static library of what reads and writes picture files: in the project around this file, whether
# efficientvit was found, fetched or added, where libjpeg-turbo and libpng are. EXCLUDE_FROM_ALL: built where it is linked.
if(NOT TARGET efficientvit_codec)
    find_package(JPEG QUIET)
    find_package(PNG QUIET)
    if(JPEG_FOUND AND PNG_FOUND)
        add_library(efficientvit_codec STATIC EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/codec.cpp")
        add_library(efficientvit::codec ALIAS efficientvit_codec)
        target_link_libraries(efficientvit_codec PUBLIC efficientvit::efficientvit PRIVATE JPEG::JPEG PNG::PNG)
        # Shared libraries, and Python's modules, are made of it too.
        set_target_properties(efficientvit_codec PROPERTIES POSITION_INDEPENDENT_CODE ON)
    endif()
endif()
