// SPDX-License-Identifier: Apache-2.0
//
// Writes a file whole or not at all. Not for users: save_safetensors.hpp and save_npy.hpp are.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/mapped_file.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#if defined(_WIN32)
#include <io.h>
#include <process.h>
#include <share.h>
#else
#include <unistd.h>
#endif

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// A new file beside `target`, which replaces it by keep(), and is gone if that never comes.
class ReplacementFile {
public:
    explicit ReplacementFile(const std::filesystem::path& target) : target_(target) {
        static std::atomic<unsigned> count{0};
        int descriptor = -1;
        // Never one that is there already: another process may be writing it, or it may be a link to somewhere.
        for (int attempt = 0; descriptor < 0; ++attempt) {
            temporary_ = target_;
            temporary_ += concat({".", std::to_string(process()), "-", std::to_string(count++), ".tmp"});
            descriptor = create();
            if (descriptor < 0 && (errno != EEXIST || attempt == 100)) fail("cannot be created", errno);
        }
        file_ = open(descriptor);
    }
    ReplacementFile(const ReplacementFile&) = delete;
    ReplacementFile& operator=(const ReplacementFile&) = delete;
    ~ReplacementFile() {
        if (file_ != nullptr) std::fclose(file_);
        std::error_code ignored;
        if (!kept_) std::filesystem::remove(temporary_, ignored);
    }

    void write(std::span<const std::byte> bytes) {
        // An empty span may be null, which fwrite must not be given.
        const bool written =
            bytes.empty() || (file_ != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size());
        if (!written) fail("cannot be written", errno);
    }

    void keep() {
        if (std::fflush(file_) != 0 || !to_disk()) fail("cannot be written", errno);
        const bool closed = std::fclose(file_) == 0;
        file_ = nullptr;
        if (!closed) fail("cannot be written", errno);
        std::error_code error;
        std::filesystem::rename(temporary_, target_, error);
        if (error) throw WeightsError(concat({path_text(target_), ": cannot be replaced: ", error.message()}));
        kept_ = true;
    }

private:
    [[noreturn]] void fail(std::string_view what, int code) const {
        throw WeightsError(concat(
            {path_text(temporary_), ": ", what, ": ", std::error_code(code, std::generic_category()).message()}));
    }

#if defined(_WIN32)
    static int process() { return _getpid(); }
    int create() const {
        int descriptor = -1;
        _wsopen_s(&descriptor, temporary_.c_str(), _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _SH_DENYNO,
                  _S_IREAD | _S_IWRITE);
        return descriptor;
    }
    static std::FILE* open(int descriptor) { return _fdopen(descriptor, "wb"); }
    bool to_disk() const { return _commit(_fileno(file_)) == 0; }
#else
    static int process() { return static_cast<int>(::getpid()); }
    int create() const { return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }
    static std::FILE* open(int descriptor) { return ::fdopen(descriptor, "wb"); }
    bool to_disk() const { return ::fsync(::fileno(file_)) == 0; }
#endif

    std::filesystem::path target_;
    std::filesystem::path temporary_;
    std::FILE* file_ = nullptr;
    bool kept_ = false;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE
