// SPDX-License-Identifier: Apache-2.0
//
// Where an example puts a file for each picture: a folder, in it the picture's name with something behind it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "text.hpp"

namespace examples {

/// No two pictures have one name here, also where the system takes 'A' for 'a', and none is too long for the system.
class OutputFolder {
public:
    /// Makes the folder. `images` are all pictures that there will be files for: where two have one name but for their
    /// extensions or folders, they keep what tells them apart. None is called as in `taken`, of small letters, where a
    /// program has a file of its own. Throws std::runtime_error.
    OutputFolder(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& images,
                 std::set<std::string> taken = {})
        : folder_(folder) {
        std::error_code error;
        std::filesystem::create_directories(folder, error);
        std::error_code unknown;
        if (!std::filesystem::is_directory(folder, unknown)) {
            throw std::runtime_error(shown(folder) + ": this folder cannot be made" +
                                     (error ? ": " + error.message() : ""));
        }
        const std::set<std::filesystem::path> different(images.begin(), images.end());
        std::map<std::string, int> stems, names;
        for (const std::filesystem::path& image : different) {
            ++stems[folded(path_bytes(image.stem()))];
            ++names[folded(path_bytes(image.filename()))];
        }
        for (const std::filesystem::path& image : different) {
            std::vector<std::string> candidates;
            const std::string stem = path_bytes(image.stem()), name = path_bytes(image.filename());
            if (stems[folded(stem)] == 1) candidates.push_back(stem);
            if (names[folded(name)] == 1) candidates.push_back(name);
            std::string whole = path_bytes(image.lexically_normal());
            for (char& c : whole) c = c == '/' || c == ':' ? '_' : c;
            candidates.push_back(whole);
            std::string chosen;
            for (std::size_t i = 0;; ++i) {
                chosen = i < candidates.size() ? shortened_name(candidates[i])
                                               : shortened_name(whole + "-" + std::to_string(i));
                if (taken.insert(folded(chosen)).second) break;
            }
            names_[image] = chosen;
        }
    }

    /// folder/<the picture's name><ending>
    std::filesystem::path file(const std::filesystem::path& image, const std::string& ending) const {
        return folder_ / path_from_bytes(names_.at(image) + ending);
    }

    /// The folder itself.
    const std::filesystem::path& folder() const { return folder_; }

private:
    /// As file systems that do not know 'A' from 'a' see it; they differ in what else is one letter.
    static std::string folded(std::string text) {
        for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        return text;
    }

    /// Systems take names of 255 bytes, of which endings and temporary files want some: of a longer one the beginning,
    /// and a hash (FNV-1a) of the whole, which tells it from others that begin so.
    static std::string shortened_name(const std::string& name) {
        constexpr std::size_t longest = 200;
        if (name.size() <= longest) return name;
        std::uint64_t hash = 0xcbf29ce484222325;
        for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        char digits[20];
        std::snprintf(digits, sizeof(digits), "-%016llx", static_cast<unsigned long long>(hash));
        std::size_t kept = longest - std::string_view(digits).size();
        while (kept > 0 && (static_cast<unsigned char>(name[kept]) & 0xc0) == 0x80) --kept;  // no half letter
        return name.substr(0, kept) + digits;
    }

    std::filesystem::path folder_;
    std::map<std::filesystem::path, std::string> names_;
};

}  // namespace examples
