// SPDX-License-Identifier: Apache-2.0
//
// A plugin is opened, asked, closed and replaced by another build, a hundred times: reload ONE TWO. The new one must
// answer, and nothing of the old one stay mapped, nor any thread of it.
#include <dlfcn.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace fs = std::filesystem;

namespace {
int lines_of_maps(const std::string& word) {
    std::ifstream maps("/proc/self/maps");
    int found = 0;
    for (std::string line; std::getline(maps, line);) found += line.find(word) != std::string::npos;
    return found;
}
}  // namespace

int main(int, char** argv) {
    const std::string plugin = fs::absolute(argv[1]).string() + ".replaced.so";
    float answers[2] = {};
    for (int round = 0; round < 100; ++round) {
        fs::remove(plugin);
        fs::copy_file(argv[1 + round % 2], plugin);
        void* const handle = dlopen(plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle == nullptr) return std::puts(dlerror()), 1;
        const auto answer = reinterpret_cast<float (*)()>(dlsym(handle, "answer"));
        const float value = answer();
        std::thread([&] { answer(); }).join();
        dlclose(handle);
        if (round < 2) answers[round] = value;
        if (value != answers[round % 2] || !(value > 0)) return std::printf("round %d: an old answer\n", round), 1;
        if (const int left = lines_of_maps(plugin)) return std::printf("round %d: %d mappings left\n", round, left), 1;
    }
    fs::remove(plugin);
    const auto threads = std::distance(fs::directory_iterator("/proc/self/task"), {});
    std::printf("answers %g and %g, %d threads\n", double{answers[0]}, double{answers[1]}, static_cast<int>(threads));
    return answers[0] != answers[1] && threads == 1 ? 0 : 1;
}
