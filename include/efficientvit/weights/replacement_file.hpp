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

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// A new file beside `target`, which replaces it by keep(), and is gone if that never comes. Where `target` is a
/// symbolic link, what it leads to is replaced, or made if that is not there. Whatever is there and is no regular
/// file, such as a device or a pipe, is refused: to rename over it would put a file in its place.
class ReplacementFile {
public:
    explicit ReplacementFile(const std::filesystem::path& target) : target_(target) {
        refuse_nul(target_);
        std::error_code error;
        const std::filesystem::file_type type = std::filesystem::status(target_, error).type();
        const bool there = type == std::filesystem::file_type::regular;
        if (!there && type != std::filesystem::file_type::not_found) {
            fail("cannot be replaced", error ? error.message() : "not a regular file");
        }
        follow_links();
        static std::atomic<unsigned> count{0};
        int descriptor = -1;
        // Never one that is there already: another process may be writing it, or it may be a link to somewhere.
        for (int attempt = 0; descriptor < 0; ++attempt) {
            temporary_ = target_;
            // A file system's limit is 255 mostly, and the target's name may be as long as that.
            if (target_.filename().native().size() > 200) temporary_.replace_filename("efficientvit");
            temporary_ += concat({".", std::to_string(process()), "-", std::to_string(count++), ".tmp"});
            descriptor = create(there);
            if (descriptor < 0 && (errno != EEXIST || attempt == 100)) fail("cannot be created", message(errno));
        }
        file_ = open(descriptor);
        if (file_ == nullptr) {
            const int code = errno;
            close(descriptor);
            std::filesystem::remove(temporary_, error);
            fail("cannot be written", message(code));
        }
        if (there) take_permissions(descriptor);
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
        const bool written = bytes.empty() || std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size();
        if (!written) fail("cannot be written", message(errno));
    }

    void keep() {
        if (std::fflush(file_) != 0 || !to_disk()) fail("cannot be written", message(errno));
        const bool closed = std::fclose(file_) == 0;
        file_ = nullptr;
        if (!closed) fail("cannot be written", message(errno));
        std::error_code error;
        std::filesystem::rename(temporary_, target_, error);
        if (error) fail("cannot be replaced", error.message());
        kept_ = true;
    }

private:
    [[noreturn]] void fail(std::string_view what, std::string_view why) const {
        throw WeightsError(concat({path_text(target_), ": ", what, ": ", why}));
    }
    static std::string message(int code) { return std::error_code(code, std::generic_category()).message(); }

    void follow_links() {
        std::error_code error;
        for (int links = 0; std::filesystem::is_symlink(std::filesystem::symlink_status(target_, error)); ++links) {
            const std::filesystem::path next = std::filesystem::read_symlink(target_, error);
            if (links == 40) error = std::make_error_code(std::errc::too_many_symbolic_link_levels);
            if (error) fail("cannot be followed", error.message());
            target_.replace_filename(next);  // as the system reads it: from the link's folder on, where it is relative
        }
    }

#if defined(_WIN32)
    static int process() { return _getpid(); }
    int create(bool) const {
        int descriptor = -1;
        _wsopen_s(&descriptor, temporary_.c_str(), _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _SH_DENYNO,
                  _S_IREAD | _S_IWRITE);
        return descriptor;
    }
    static std::FILE* open(int descriptor) { return _fdopen(descriptor, "wb"); }
    static void close(int descriptor) { _close(descriptor); }
    static void take_permissions(int) {}  // a folder's, which the new file has too
    bool to_disk() const { return _commit(_fileno(file_)) == 0; }
#else
    static int process() { return static_cast<int>(::getpid()); }
    int create(bool private_at_first) const {
        const mode_t mode = private_at_first ? 0600 : 0666;
        return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    }
    static std::FILE* open(int descriptor) { return ::fdopen(descriptor, "wb"); }
    static void close(int descriptor) { ::close(descriptor); }
    /// Who could read the old file can read the new one, and nobody else. Some file systems keep no permissions: there
    /// it stays as it is.
    void take_permissions(int descriptor) const {
        struct stat old {};
        if (::stat(target_.c_str(), &old) != 0) return;
        mode_t mode = old.st_mode & 0777;
        // Only root gives files away. Where the group cannot be kept either, its rights must not go to another.
        if (::fchown(descriptor, old.st_uid, old.st_gid) != 0 &&
            ::fchown(descriptor, static_cast<uid_t>(-1), old.st_gid) != 0) {
            mode &= ~static_cast<mode_t>(0070);
        }
        ::fchmod(descriptor, mode);
    }
    bool to_disk() const { return ::fsync(::fileno(file_)) == 0; }
#endif

    std::filesystem::path target_;
    std::filesystem::path temporary_;
    std::FILE* file_ = nullptr;
    bool kept_ = false;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
