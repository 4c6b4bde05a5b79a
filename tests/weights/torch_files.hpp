// SPDX-License-Identifier: Apache-2.0
//
// For the tests of torch_checkpoint.hpp: zip archives and pickles written by hand, so that each of their parts can lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

/// `value` in `width` bytes, little-endian.
inline std::string le(std::uint64_t value, int width) {
    std::string out;
    for (int i = 0; i < width; ++i, value >>= 8) out += static_cast<char>(value & 0xff);
    return out;
}

/// A file in an archive. What is set below `data` stands in its headers instead of the truth.
struct ZipMember {
    std::string name{};
    std::string data{};
    std::uint16_t flags = 0;
    std::uint16_t method = 0;
    std::optional<std::uint16_t> local_method{};
    std::optional<std::string> local_name{};
    std::optional<std::uint32_t> local_size{};
    std::optional<std::uint32_t> packed{};
    std::optional<std::uint32_t> size{};
    std::optional<std::uint32_t> header{};
    std::string central_extra{};
    std::string local_extra{};
};

/// An archive. What is set stands in its last records instead of the truth.
struct Zip {
    std::vector<ZipMember> members{};
    bool zip64 = false;
    std::optional<std::uint64_t> count{};
    std::optional<std::uint64_t> count_here{};
    std::optional<std::uint64_t> directory_size{};
    std::optional<std::uint64_t> directory_offset{};
    std::uint32_t disk = 0;
    std::optional<std::uint64_t> record_offset{};  ///< of the zip64 record, in its locator
    std::optional<std::uint64_t> record_size{};
    // In the old record, beside zip64.
    std::uint16_t narrow_count_here = 0xffff, narrow_count = 0xffff;
    std::uint32_t narrow_size = 0xffffffff, narrow_offset = 0xffffffff;
    std::string before_directory{};
    std::string in_directory{};
    std::string behind{};

    std::string bytes() const {
        std::string out;
        std::string directory;
        for (const ZipMember& member : members) {
            const std::string local_name = member.local_name.value_or(member.name);
            const auto size = static_cast<std::uint32_t>(member.data.size());
            const std::string local_size = le(member.local_size.value_or(size), 4);
            directory += "PK\1\2" + le(0, 4) + le(member.flags, 2) + le(member.method, 2) + le(0, 8) +
                         le(member.packed.value_or(size), 4) + le(member.size.value_or(size), 4) +
                         le(member.name.size(), 2) + le(member.central_extra.size(), 2) + le(0, 10) +
                         le(member.header.value_or(static_cast<std::uint32_t>(out.size())), 4) + member.name +
                         member.central_extra;
            out += "PK\3\4" + le(0, 2) + le(member.flags, 2) + le(member.local_method.value_or(member.method), 2) +
                   le(0, 8) + local_size + local_size + le(local_name.size(), 2) + le(member.local_extra.size(), 2) +
                   local_name + member.local_extra + member.data;
        }
        out += before_directory;
        directory += in_directory;
        const std::uint64_t offset = directory_offset.value_or(out.size());
        const std::uint64_t size = directory_size.value_or(directory.size());
        const std::uint64_t total = count.value_or(members.size());
        const std::uint64_t here = count_here.value_or(total);
        out += directory;
        if (zip64) {
            const std::uint64_t record = record_offset.value_or(out.size());
            out += "PK\6\6" + le(record_size.value_or(44), 8) + le(0, 4) + le(disk, 4) + le(0, 4) + le(here, 8) +
                   le(total, 8) + le(size, 8) + le(offset, 8);
            out += "PK\6\7" + le(0, 4) + le(record, 8) + le(1, 4);
            out += "PK\5\6" + le(0, 4) + le(narrow_count_here, 2) + le(narrow_count, 2) + le(narrow_size, 4) +
                   le(narrow_offset, 4) + le(0, 2);
        } else {
            out +=
                "PK\5\6" + le(disk, 2) + le(0, 2) + le(here, 2) + le(total, 2) + le(size, 4) + le(offset, 4) + le(0, 2);
        }
        return out + behind;
    }
};

// ---- Pickles: pieces to be put together, each of which leaves one value on the stack ----

inline std::string p_int(std::int64_t value) { return "\x8a\x08" + le(static_cast<std::uint64_t>(value), 8); }
inline std::string p_text(const std::string& text) { return "X" + le(text.size(), 4) + text; }
inline std::string p_global(const std::string& module, const std::string& name) {
    return "c" + module + "\n" + name + "\n";
}
inline std::string p_tuple(std::initializer_list<std::int64_t> values) {
    std::string out = "(";
    for (const std::int64_t value : values) out += p_int(value);
    return out + "t";
}
inline std::string p_ordered_dict() { return p_global("collections", "OrderedDict") + ")R"; }
inline std::string p_dict(std::initializer_list<std::string> keys_and_values) {
    std::string out = "}(";
    for (const std::string& piece : keys_and_values) out += piece;
    return out + "u";
}
inline std::string p_storage(const std::string& key, std::int64_t count, const std::string& type = "FloatStorage") {
    return "(" + p_text("storage") + p_global("torch", type) + p_text(key) + p_text("cpu") + p_int(count) + "tQ";
}
inline std::string p_tensor(const std::string& storage, std::int64_t offset, const std::string& shape,
                            const std::string& strides, const std::string& more = "") {
    return p_global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + p_int(offset) + shape + strides + "\x89" +
           p_ordered_dict() + more + "tR";
}
/// 2 x 3 floats that fill storage '0'.
inline std::string p_good_tensor() { return p_tensor(p_storage("0", 6), 0, p_tuple({2, 3}), p_tuple({3, 1})); }

/// The pickle that leaves `value`.
inline std::string pickle_of(const std::string& value) { return "\x80\x02" + value + "."; }

/// 0, 1, 2, 3, 4, 5 as floats.
inline std::string six_floats() {
    std::string out;
    for (const std::uint32_t bits : {0u, 0x3f800000u, 0x40000000u, 0x40400000u, 0x40800000u, 0x40a00000u}) {
        out += le(bits, 4);
    }
    return out;
}

/// An archive around a pickle, with storage '0' of six floats.
inline Zip checkpoint_of(const std::string& pickle) {
    return Zip{.members = {{.name = "m/data.pkl", .data = pickle},
                           {.name = "m/data/0", .data = six_floats()},
                           {.name = "m/version", .data = "3\n"}}};
}
