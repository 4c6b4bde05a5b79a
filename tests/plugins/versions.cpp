// SPDX-License-Identifier: Apache-2.0
//
// Two builds of the library in one process: they must answer alike, in turns and on another thread. Linked, or with two
// arguments opened as shared libraries, in all ways that dlopen has.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <thread>

namespace {

using Forward = float();

bool alike(Forward* a, Forward* b) {
    const float expected = a();
    bool fine = expected > 0;
    for (int i = 0; i < 3; ++i) fine = b() == expected && a() == expected && fine;
    std::thread([&] { fine = b() == expected && a() == expected && fine; }).join();
    return fine;
}

}  // namespace

#if defined(VERSIONS_LINKED)

extern "C" Forward forward_a, forward_b;

int main() { return alike(forward_a, forward_b) ? 0 : 1; }

#else

int main(int, char** argv) {
    const int mode = std::strcmp(argv[1], "global") == 0     ? RTLD_NOW | RTLD_GLOBAL
                     : std::strcmp(argv[1], "deepbind") == 0 ? RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND
                                                             : RTLD_NOW | RTLD_LOCAL;
    Forward* forwards[2] = {};
    for (int i = 0; i < 2; ++i) {
        void* const library = dlopen(argv[2 + i], mode);
        if (library == nullptr) return std::puts(dlerror()), 1;
        for (const char* name : {"forward_a", "forward_b"}) {
            if (void* const found = dlsym(library, name)) forwards[i] = reinterpret_cast<Forward*>(found);
        }
        if (forwards[i] == nullptr) return std::puts("no forward in it"), 1;
    }
    return alike(forwards[0], forwards[1]) ? 0 : 1;
}

#endif
