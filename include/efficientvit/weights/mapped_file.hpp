// SPDX-License-Identifier: Apache-2.0
//
// A file mapped into memory, read only, on POSIX and Windows. Knows no format.
//
// A mapping has a trap: if somebody cuts the file short while it is mapped, touching the lost pages is a
// SIGBUS and the program dies. So the mapping only gives the bytes an address, and pages that nobody touches
// cost nothing; our own reading (read(), to_float() of an entry) goes through the descriptor, where a lost
// byte is an error that can be thrown. (The copy costs what the page faults would: 0.57 against 0.53 ms for b0.)
// Only who follows bytes().data() or Entry::data into the mapping himself still runs that risk. Windows
// refuses to shorten a mapped file.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/runtime/platform.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#if defined(_WIN32)
#pragma push_macro("WIN32_LEAN_AND_MEAN")
#pragma push_macro("NOMINMAX")
#undef WIN32_LEAN_AND_MEAN
#undef NOMINMAX
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#pragma pop_macro("NOMINMAX")
#pragma pop_macro("WIN32_LEAN_AND_MEAN")
#else
#include <fcntl.h>
#if EFFICIENTVIT_HAS_MMAP
#include <sys/mman.h>
#endif
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// A path as UTF-8, for messages; path::string() throws on Windows for what the code page lacks.
inline std::string path_text(const std::filesystem::path& path) {
    const std::u8string text = path.u8string();
    return printable({reinterpret_cast<const char*>(text.data()), text.size()});
}

/// Throws WeightsError for a path with a NUL in it: the system would take what stands before that, another file.
inline void refuse_nul(const std::filesystem::path& path) {
    if (path.native().find(std::filesystem::path::value_type{}) != std::filesystem::path::string_type::npos) {
        throw WeightsError(concat({path_text(path), ": a path cannot hold a NUL"}));
    }
}

/// Whether there is something of that name, at the end of links.
inline bool file_exists(const std::filesystem::path& path) {
#if defined(_WIN32)
    std::error_code error;
    return std::filesystem::exists(path, error);
#else
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0;  // not all libraries with paths have files
#endif
}

inline std::string system_message(int code) { return std::error_code(code, std::system_category()).message(); }

/// An open file, whose bytes are read by their position. Moves, does not copy.
class FileHandle {
public:
    explicit FileHandle(const std::filesystem::path& path) : path_(path_text(path)) {
        refuse_nul(path);
        open(path);
    }
    FileHandle(const FileHandle&) = delete;
    FileHandle& operator=(const FileHandle&) = delete;

    const std::string& path() const { return path_; }
    std::size_t size() const { return size_; }

    [[noreturn]] void fail(std::string_view what, int code) const {
        throw WeightsError(concat({path_, ": ", what, ": ", system_message(code)}));
    }

    /// Reads to.size() bytes from `position` on; throws WeightsError if there are fewer.
    void read_at(std::size_t position, std::span<std::byte> to) const {
        std::size_t done = 0;
        while (done < to.size()) {
            const std::size_t got = read_some(position + done, to.subspan(done));
            if (got == 0) {
                throw WeightsError(concat({path_, ": cut short while being read: ends at byte ",
                                           std::to_string(position + done), ", expected ", std::to_string(size_)}));
            }
            done += got;
        }
    }

#if defined(_WIN32)
    ~FileHandle() { CloseHandle(file_); }
    HANDLE native() const { return file_; }

private:
    void open(const std::filesystem::path& path) {
        file_ = CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                            FILE_ATTRIBUTE_NORMAL, nullptr);
        if (file_ == INVALID_HANDLE_VALUE) fail("cannot be opened", static_cast<int>(GetLastError()));
        LARGE_INTEGER size;
        const bool known = GetFileSizeEx(file_, &size) != 0;
        const int code = static_cast<int>(GetLastError());
        if (!known || static_cast<std::uint64_t>(size.QuadPart) > std::numeric_limits<std::size_t>::max() / 2) {
            CloseHandle(file_);
            fail("size unknown or too large", code);
        }
        size_ = static_cast<std::size_t>(size.QuadPart);
    }

    std::size_t read_some(std::size_t position, std::span<std::byte> to) const {
        OVERLAPPED at{};
        at.Offset = static_cast<DWORD>(position & 0xffffffffu);
        at.OffsetHigh = static_cast<DWORD>(static_cast<std::uint64_t>(position) >> 32);
        DWORD got = 0;
        const DWORD wish = static_cast<DWORD>(to.size() < 0x40000000 ? to.size() : 0x40000000);
        if (ReadFile(file_, to.data(), wish, &got, &at) == 0) {
            const DWORD code = GetLastError();
            if (code != ERROR_HANDLE_EOF) fail("cannot be read", static_cast<int>(code));
        }
        return got;
    }

    HANDLE file_ = INVALID_HANDLE_VALUE;
#else
    ~FileHandle() { ::close(file_); }
    int native() const { return file_; }

private:
    void open(const std::filesystem::path& path) {
        // Not blocking, since to open a pipe would wait for its writer; it makes no difference to a file.
        do {
            file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        } while (file_ < 0 && errno == EINTR);
        if (file_ < 0) fail("cannot be opened", errno);
        struct stat status {};
        const int code = ::fstat(file_, &status) == 0 ? 0 : errno;
        const bool regular = code == 0 && S_ISREG(status.st_mode);
        if (!regular || static_cast<std::uint64_t>(status.st_size) > std::numeric_limits<std::size_t>::max() / 2) {
            ::close(file_);
            if (code != 0) fail("size unknown", code);
            throw WeightsError(concat({path_, regular ? ": too large" : ": not a regular file"}));
        }
        size_ = static_cast<std::size_t>(status.st_size);
    }

    std::size_t read_some(std::size_t position, std::span<std::byte> to) const {
        constexpr std::size_t most = std::size_t{1} << 30;  // some systems refuse more at once
        for (;;) {
            const auto got =
                ::pread(file_, to.data(), to.size() < most ? to.size() : most, static_cast<off_t>(position));
            if (got >= 0) return static_cast<std::size_t>(got);
            if (errno != EINTR) fail("cannot be read", errno);
        }
    }

    int file_ = -1;
#endif
    std::string path_;
    std::size_t size_ = 0;
};

}  // namespace detail

/// A file in memory, mapped where the system can, else read whole. Throws WeightsError if it cannot be opened or
/// read, or is not a regular file.
class MappedFile final : public Storage {
public:
    /// Throws WeightsError.
    explicit MappedFile(const std::filesystem::path& path) : file_(path) {
        if (file_.size() == 0) return;
        map();
        if (mapping_ != nullptr) {
            bytes_ = {static_cast<const std::byte*>(mapping_), file_.size()};
        } else {  // a file system without mappings
            copy_.resize(file_.size());
            file_.read_at(0, copy_);
            bytes_ = copy_;
        }
    }
    ~MappedFile() override { unmap(); }

    /// The whole file. To follow the pointer is at your own risk if others may shorten the file; read() is safe.
    std::span<const std::byte> bytes() const { return bytes_; }

    /// The path, as UTF-8, for messages.
    const std::string& path() const { return file_.path(); }

    /// Copies part of bytes() through the descriptor; throws WeightsError if the file has become shorter.
    void read(const std::byte* from, std::span<std::byte> to) const override {
        if (mapping_ != nullptr) {
            file_.read_at(static_cast<std::size_t>(from - bytes_.data()), to);
        } else {
            Storage::read(from, to);
        }
    }

private:
#if defined(_WIN32)
    void map() {
        const HANDLE section = CreateFileMappingW(file_.native(), nullptr, PAGE_READONLY, 0, 0, nullptr);
        if (section == nullptr) return;
        mapping_ = MapViewOfFile(section, FILE_MAP_READ, 0, 0, 0);
        CloseHandle(section);  // the view keeps it
    }
    void unmap() {
        if (mapping_ != nullptr) UnmapViewOfFile(mapping_);
    }
#elif !EFFICIENTVIT_HAS_MMAP
    void map() {}
    void unmap() {}
#else
    void map() {
        void* const at = ::mmap(nullptr, file_.size(), PROT_READ, MAP_PRIVATE, file_.native(), 0);
        if (at != MAP_FAILED) mapping_ = at;
    }
    void unmap() {
        if (mapping_ != nullptr) ::munmap(mapping_, file_.size());
    }
#endif

    detail::FileHandle file_;
    void* mapping_ = nullptr;
    std::vector<std::byte> copy_;
    std::span<const std::byte> bytes_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
