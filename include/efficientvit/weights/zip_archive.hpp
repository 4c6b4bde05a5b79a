// SPDX-License-Identifier: Apache-2.0
//
// The files in a zip archive, as far as PyTorch writes it: stored without compression, one archive on one disk, no
// comment, no encryption; with or without zip64. Everything else is refused by name, compressed files when they are
// asked for. Not for users: torch_checkpoint.hpp is. Layout: PKWARE's APPNOTE.TXT, 4.3.
//
// Nothing in an archive is trusted. The directory at its end is the only witness of where a file lies and how
// long it is; each local header must agree with it, and no two files may share a byte. Checksums are not looked at, as
// PyTorch does not either: it can be told to leave them out when it saves.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// The unsigned little-endian number of `width` bytes at `position`, which the caller has checked.
inline std::uint64_t little_endian(std::span<const std::byte> bytes, std::size_t position, std::size_t width) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + position, width);  // state_dict.hpp asserts that the machine is little-endian
    return value;
}

/// An archive opened and checked whole. Keeps the memory or file that it reads.
class ZipArchive {
public:
    struct File {
        std::string_view name;
        std::size_t header;  ///< where its local header begins
        std::size_t begin;   ///< where its bytes begin
        std::size_t size;
        std::size_t packed;    ///< how many bytes it takes here
        std::uint64_t method;  ///< how these are compressed; 0: not at all
    };

    /// `archive` are the bytes of the whole archive and who keeps them; `source` names it in messages. Throws
    /// WeightsError for whatever is not as it should be.
    EFFICIENTVIT_COLD ZipArchive(Entry archive, std::string source)
        : archive_(std::move(archive)), source_(std::move(source)) {
        const Directory directory = find_directory();
        directory_ = read(directory.begin, directory.end - directory.begin);
        files_.reserve(directory.count);
        std::size_t position = 0;
        for (std::size_t i = 0; i < directory.count; ++i) add_file(position, i, directory);
        if (position != directory_.size()) {
            fail({"its zip directory holds ", std::to_string(directory_.size() - position),
                  " bytes behind the last of ", std::to_string(directory.count), " files"});
        }
        check_places(directory);
        check_names();
    }

    ZipArchive(const ZipArchive&) = delete;
    ZipArchive& operator=(const ZipArchive&) = delete;

    const std::string& source() const { return source_; }
    std::size_t size() const { return archive_.data.size(); }

    /// Every file, in the order of their names.
    std::span<const File> files() const { return files_; }

    /// The file of that name or null.
    const File* find(std::string_view name) const {
        const auto found = std::lower_bound(files_.begin(), files_.end(), name,
                                            [](const File& file, std::string_view key) { return file.name < key; });
        return found == files_.end() || found->name != name ? nullptr : &*found;
    }

    /// Its bytes where they lie, as an Entry without a shape that shares the ownership; nothing is read. Throws
    /// WeightsError where the file is compressed.
    Entry bytes(const File& file) const {
        check_stored(file);
        return {DType::u8, {}, archive_.data.subspan(file.begin, file.size), archive_.owner};
    }

    /// A copy of its bytes. Throws WeightsError where the file is compressed.
    std::vector<std::byte> read(const File& file) const {
        check_stored(file);
        return read(file.begin, file.size);
    }

    [[noreturn]] void fail(std::initializer_list<std::string_view> what) const {
        throw WeightsError(concat({source_, ": ", concat(what)}));
    }

private:
    static constexpr std::size_t end_size = 22, locator_size = 20, end64_size = 56, central_size = 46, local_size = 30;

    struct Directory {
        std::size_t begin;
        std::size_t end;
        std::size_t count;
    };

    /// What the record at the end says of the directory, in 16 and 32 bits or in 64.
    struct Claims {
        std::uint64_t disk, start_disk, count_here, count, size, offset;
    };

    std::vector<std::byte> read(std::size_t position, std::size_t size) const {
        std::vector<std::byte> out(size);
        read_bytes(archive_, position, out);
        return out;
    }

    /// Reads them from `at` on: disk numbers, counts and sizes of so many bytes each.
    static Claims claims(std::span<const std::byte> record, std::size_t at, std::size_t disk, std::size_t count,
                         std::size_t size) {
        const auto next = [&](std::size_t width) {
            at += width;
            return little_endian(record, at - width, width);
        };
        // In the order of the members, as braces promise.
        return {next(disk), next(disk), next(count), next(count), next(size), next(size)};
    }

    EFFICIENTVIT_COLD Directory find_directory() const {
        if (size() < end_size) {
            fail({"too small for a zip archive: ", std::to_string(size()), " bytes, expected at least 22"});
        }
        std::size_t end = size() - end_size;
        const std::vector<std::byte> last = read(end, end_size);
        if (little_endian(last, 0, 4) != 0x06054b50 || little_endian(last, 20, 2) != 0) {
            fail({"its last 22 bytes are not the end of a zip archive: cut short, or something stands behind it"});
        }
        Claims said = claims(last, 4, 2, 2, 4);
        if (end >= locator_size) {
            const std::vector<std::byte> locator = read(end - locator_size, locator_size);
            if (little_endian(locator, 0, 4) == 0x07064b50) {
                end -= locator_size;
                said = read_zip64(locator, said, end);
            }
        }
        if (said.disk != 0 || said.start_disk != 0 || said.count_here != said.count) {
            fail({"a part of a zip archive on several disks, expected a whole one"});
        }
        if (said.offset > end || said.size != end - said.offset) {
            fail({"its zip directory of ", std::to_string(said.size), " bytes at byte ", std::to_string(said.offset),
                  " does not end where it should, at byte ", std::to_string(end)});
        }
        if (said.count > said.size / central_size) {
            fail({"its zip directory of ", std::to_string(said.size), " bytes cannot hold ", std::to_string(said.count),
                  " files"});
        }
        return {static_cast<std::size_t>(said.offset), end, static_cast<std::size_t>(said.count)};
    }

    /// The 64-bit record that `locator` points to; `end` becomes its beginning.
    EFFICIENTVIT_COLD Claims read_zip64(std::span<const std::byte> locator, const Claims& narrow,
                                        std::size_t& end) const {
        const std::uint64_t at = little_endian(locator, 8, 8);
        if (end < end64_size || at > end - end64_size) {
            fail({"its zip64 record is said to begin at byte ", std::to_string(at), ", beyond where it could"});
        }
        const std::vector<std::byte> record = read(static_cast<std::size_t>(at), end64_size);
        if (little_endian(record, 0, 4) != 0x06064b50) {
            fail({"no zip64 record at byte ", std::to_string(at), ", where one should be"});
        }
        if (little_endian(record, 4, 8) != end - at - 12) {
            fail({"its zip64 record at byte ", std::to_string(at), " does not end where it should, at byte ",
                  std::to_string(end)});
        }
        const Claims wide = claims(record, 16, 4, 8, 8);
        const auto differs = [](std::uint64_t in_narrow, std::uint64_t in_wide, std::uint64_t unknown) {
            return in_narrow != unknown && in_narrow != in_wide;
        };
        if (differs(narrow.count, wide.count, 0xffff) || differs(narrow.size, wide.size, 0xffffffff) ||
            differs(narrow.offset, wide.offset, 0xffffffff) || differs(narrow.count_here, wide.count_here, 0xffff)) {
            fail({"its zip64 record and the record at its end do not agree"});
        }
        end = static_cast<std::size_t>(at);
        return wide;
    }

    /// Reads the file's record in the directory at `position`, moves that on, and looks at the local header.
    EFFICIENTVIT_COLD void add_file(std::size_t& position, std::size_t index, const Directory& directory) {
        const std::span<const std::byte> left = std::span(directory_).subspan(position);
        const std::string which = concat({"file ", std::to_string(index), " of its zip directory"});
        if (left.size() < central_size) fail({which, " is cut short"});
        if (little_endian(left, 0, 4) != 0x02014b50) fail({which, " does not begin as it should"});
        const std::uint64_t flags = little_endian(left, 8, 2);
        const std::uint64_t method = little_endian(left, 10, 2);
        std::uint64_t packed = little_endian(left, 20, 4);
        std::uint64_t size = little_endian(left, 24, 4);
        const auto name_size = static_cast<std::size_t>(little_endian(left, 28, 2));
        const auto extra_size = static_cast<std::size_t>(little_endian(left, 30, 2));
        const std::size_t record =
            central_size + name_size + extra_size + static_cast<std::size_t>(little_endian(left, 32, 2));
        std::uint64_t header = little_endian(left, 42, 4);
        if (record > left.size()) fail({which, " is cut short"});
        const std::string_view name(reinterpret_cast<const char*>(left.data()) + central_size, name_size);
        position += record;

        read_zip64_sizes(name, left.subspan(central_size + name_size, extra_size), {&size, &packed, &header});
        if ((flags & 1) != 0) fail_file(name, {"is encrypted"});
        if (method == 0 && packed != size) {
            fail_file(name,
                      {"is stored and yet said to take ", std::to_string(packed), " bytes for ", std::to_string(size)});
        }
        add_local({name, method, flags, packed, size, header}, directory.begin);
    }

    /// Puts the 64-bit values of the extra field 1 in place of those that are all ones.
    EFFICIENTVIT_COLD void read_zip64_sizes(std::string_view name, std::span<const std::byte> extra,
                                            std::initializer_list<std::uint64_t*> values) const {
        while (extra.size() >= 4) {
            const std::uint64_t id = little_endian(extra, 0, 2);
            const auto size = static_cast<std::size_t>(little_endian(extra, 2, 2));
            extra = extra.subspan(4);
            if (size > extra.size()) break;
            std::size_t position = 0;
            for (std::uint64_t* value : values) {
                if (id != 1 || *value != 0xffffffff) continue;
                if (size - position < 8) fail_file(name, {"has a zip64 field that is too short"});
                *value = little_endian(extra, position, 8);
                position += 8;
            }
            extra = extra.subspan(size);
            if (id == 1) return;
        }
    }

    /// What the directory says of a file.
    struct Record {
        std::string_view name;
        std::uint64_t method, flags, packed, size, header;
    };

    /// Adds the file, after a look at its local header.
    EFFICIENTVIT_COLD void add_local(const Record& file, std::size_t end) {
        const std::string_view name = file.name;
        const auto check_room = [&](std::string_view what, std::uint64_t from, std::uint64_t wanted) {
            if (from <= end && wanted <= end - from) return;
            fail_file(name, {"lies outside: its ", what, " of ", std::to_string(wanted), " bytes at byte ",
                             std::to_string(from), " would pass byte ", std::to_string(end),
                             ", where the zip directory begins"});
        };
        check_room("header", file.header, local_size + name.size());
        const auto at = static_cast<std::size_t>(file.header);
        const std::vector<std::byte> local = read(at, local_size + name.size());
        if (little_endian(local, 0, 4) != 0x04034b50) {
            fail_file(name, {"has no header at byte ", std::to_string(file.header), ", where it is said to be"});
        }
        const std::string_view local_name(reinterpret_cast<const char*>(local.data()) + local_size, name.size());
        if (little_endian(local, 26, 2) != name.size() || local_name != name ||
            little_endian(local, 8, 2) != file.method) {
            fail_file(name, {"has another name or method in its own header"});
        }
        // Zeros where the sizes follow the data, all ones where they are in a zip64 field: the directory knows them.
        const bool later = (little_endian(local, 6, 2) & file.flags & 8) != 0;
        const auto check_size = [&](std::size_t field, std::uint64_t size) {
            const std::uint64_t said = little_endian(local, field, 4);
            if (said != size && said != 0xffffffff && !(later && said == 0)) {
                fail_file(name, {"has ", std::to_string(said), " bytes by its own header and ", std::to_string(size),
                                 " by the zip directory"});
            }
        };
        check_size(18, file.packed);
        check_size(22, file.size);
        const std::size_t begin = at + local.size() + static_cast<std::size_t>(little_endian(local, 28, 2));
        check_room("data", begin, file.packed);
        files_.push_back(
            {name, at, begin, static_cast<std::size_t>(file.size), static_cast<std::size_t>(file.packed), file.method});
    }

    EFFICIENTVIT_COLD void check_places(const Directory& directory) {
        std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) { return a.header < b.header; });
        for (std::size_t i = 0; i < files_.size(); ++i) {
            const std::size_t next = i + 1 < files_.size() ? files_[i + 1].header : directory.begin;
            if (files_[i].begin + files_[i].packed > next) {
                fail_file(files_[i].name, {"overlaps ", in_quotes(files_[i + 1].name)});
            }
        }
    }

    EFFICIENTVIT_COLD void check_names() {
        std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) { return a.name < b.name; });
        const auto same = std::adjacent_find(files_.begin(), files_.end(),
                                             [](const File& a, const File& b) { return a.name == b.name; });
        if (same != files_.end()) fail_file(same->name, {"is there twice"});
    }

    /// PyTorch compresses nothing but the source code of a TorchScript program.
    void check_stored(const File& file) const {
        if (file.method == 0) return;
        fail_file(file.name, {"is compressed (method ", std::to_string(file.method),
                              "), which PyTorch never does: save it again with torch.save"});
    }

    [[noreturn]] void fail_file(std::string_view name, std::initializer_list<std::string_view> what) const {
        fail({"in its zip archive ", in_quotes(name), " ", concat(what)});
    }

    Entry archive_;
    std::string source_;
    std::vector<std::byte> directory_;  // which the names point into
    std::vector<File> files_;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
