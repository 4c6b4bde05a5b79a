# SPDX-License-Identifier: Apache-2.0
#
# The headers as another version might have them, in TO: 0.99.0, and a Context that is larger.
# cmake -DFROM=include -DTO=… -P next_version.cmake
file(REMOVE_RECURSE "${TO}")
file(COPY "${FROM}/" DESTINATION "${TO}")

function(replace file from to)
    file(READ "${TO}/efficientvit/${file}" text)
    string(REPLACE "${from}" "${to}" changed "${text}")
    if(changed STREQUAL text)
        message(FATAL_ERROR "${file} has no ${from}")
    endif()
    file(WRITE "${TO}/efficientvit/${file}" "${changed}")
endfunction()
replace(config.hpp "VERSION_MINOR 1" "VERSION_MINOR 99")
replace(runtime/context.hpp "    detail::AlignedBuffer<float> memory_"
        "    [[maybe_unused]] int other_layout_[64]{};\n    detail::AlignedBuffer<float> memory_")
file(TOUCH "${TO}/made")
