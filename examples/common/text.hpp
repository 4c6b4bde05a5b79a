// SPDX-License-Identifier: Apache-2.0
//
// Text that comes from elsewhere: names of files on a terminal, lines of a list, what exceptions say, mistakes of
// users.
#pragma once

#include <efficientvit/weights/mapped_file.hpp>

#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace examples {

namespace ev = efficientvit;

/// A mistake on the command line.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A path for the terminal: what would disturb it, such as a line break or an escape sequence, is escaped.
inline std::string shown(const std::filesystem::path& path) { return ev::detail::path_text(path); }

/// A path as text that its files keep, UTF-8 on every system where it can be.
inline std::string path_bytes(const std::filesystem::path& path) {
    const std::u8string text = path.generic_u8string();
    return {text.begin(), text.end()};
}

/// The path of such a text.
inline std::filesystem::path path_from_bytes(std::string_view text) { return std::u8string(text.begin(), text.end()); }

/// On one line and in UTF-8 whatever a name holds: control characters, '\' and bytes that are not UTF-8 become \xNN.
inline std::string one_line(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    const bool utf8 = ev::detail::first_not_utf8(text) == text.size();
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f && c != '\\' && (utf8 || byte < 0x80)) {
            out += c;
        } else {
            out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return out;
}

/// A file's bytes, where it may be a pipe too, as <(...) of a shell is. Throws std::runtime_error, which names it.
inline std::string file_text(const std::filesystem::path& path) {
    // Some systems open a folder like a file, and fail at its first byte.
    std::error_code unknown;
    if (std::filesystem::is_directory(path, unknown)) {
        throw std::runtime_error(shown(path) + ": is a folder, expected a file");
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(shown(path) + ": cannot be opened");
    try {
        return {std::istreambuf_iterator<char>(file), {}};
    } catch (const std::ios_base::failure&) {
        throw std::runtime_error(shown(path) + ": cannot be read");
    }
}

/// The lines of a text file, as any system's editor leaves it: without carriage returns at their ends, a byte order
/// mark before the first and empty lines behind the last. Throws std::runtime_error.
inline std::vector<std::string> text_lines(const std::filesystem::path& path) {
    std::string text = file_text(path);
    if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        std::string line = text.substr(at, end - at);
        if (line.ends_with('\r')) line.pop_back();
        lines.push_back(std::move(line));
        at = end + 1;
    }
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    return lines;
}

/// What an exception says, for a terminal.
inline std::string reason(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return "out of memory";
    if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
        if (system->code() == std::errc::resource_unavailable_try_again) {
            return "no more threads could be started (--threads)";
        }
        return ev::detail::printable(error.what());  // names files as they are
    }
    return error.what();
}

}  // namespace examples
