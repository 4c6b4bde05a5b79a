// SPDX-License-Identifier: Apache-2.0
//
// Runs a command as a person would.
#pragma once

#include <cstdio>
#include <string>

#include <sys/wait.h>

struct Outcome {
    int status = -1;
    std::string text;  // both streams
};

inline Outcome shell(const std::string& command) {
    Outcome out;
    std::FILE* const pipe = popen(("{ " + command + "; } 2>&1").c_str(), "r");
    if (pipe == nullptr) return out;
    char buffer[4096];
    for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) out.text.append(buffer, got);
    const int status = pclose(pipe);
    out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return out;
}
