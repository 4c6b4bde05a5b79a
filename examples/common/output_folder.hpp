// SPDX-License-Identifier: Apache-2.0
//
// Where an example puts a file for each picture: a folder, in it the picture's name with something behind it.
#pragma once

#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace examples {

class OutputFolder {
public:
    /// Makes the folder. `images` are all pictures that there will be files for: where two have one name but for their
    /// extensions or folders, they keep what tells them apart. Throws std::runtime_error.
    OutputFolder(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& images)
        : folder_(folder) {
        std::error_code error;
        std::filesystem::create_directories(folder, error);
        if (!std::filesystem::is_directory(folder)) {
            throw std::runtime_error(folder.string() + ": this folder cannot be made" +
                                     (error ? ": " + error.message() : ""));
        }
        std::map<std::filesystem::path, int> stems, names;
        for (const std::filesystem::path& image : images) {
            ++stems[image.stem()];
            ++names[image.filename()];
        }
        for (const std::filesystem::path& image : images) {
            if (stems[image.stem()] == 1) {
                names_[image] = image.stem().string();
            } else if (names[image.filename()] == 1) {
                names_[image] = image.filename().string();
            } else {
                std::string whole = image.lexically_normal().generic_string();
                for (char& c : whole) c = c == '/' || c == ':' ? '_' : c;
                names_[image] = whole;
            }
        }
    }

    /// folder/<the picture's name><ending>
    std::filesystem::path file(const std::filesystem::path& image, const std::string& ending) const {
        return folder_ / (names_.at(image) + ending);
    }

private:
    std::filesystem::path folder_;
    std::map<std::filesystem::path, std::string> names_;
};

}  // namespace examples
