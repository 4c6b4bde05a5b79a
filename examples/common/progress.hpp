// SPDX-License-Identifier: Apache-2.0
//
// Pictures one after the other, with a bar on the terminal that shows how far it is; a broken one is reported and does
// not stop the others.
#pragma once

#include <efficientvit/images/codec.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace examples {

namespace ev = efficientvit;

/// "[#####.....] 12/24, 3 s left", on standard error if that is a terminal, or `always`, and there is more than one
/// thing to do.
class Progress {
public:
    explicit Progress(std::size_t count, bool always = false)
        : count_(count), shown_(count > 1 && (always || is_terminal())) {
        show();
    }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { hide(); }

    void step() { to(done_ + 1); }
    void to(std::size_t done) {
        done_ = done;
        show();
    }

    /// A line that stays, above the bar.
    void say(const std::string& line) {
        hide();
        std::cerr << line << std::endl;
        show();
    }
    void hide() const {
        if (shown_) std::cerr << "\r\x1b[K" << std::flush;
    }
    void show() const {
        if (!shown_) return;
        constexpr std::size_t width = 30;
        const std::size_t filled = width * done_ / count_;
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
        std::string line = "\r[" + std::string(filled, '#') + std::string(width - filled, '.') + "] " +
                           std::to_string(done_) + "/" + std::to_string(count_);
        if (done_ > 0) {
            const double left = passed.count() / static_cast<double>(done_) * static_cast<double>(count_ - done_);
            line += ", " + std::to_string(static_cast<long>(left + 0.5)) + " s left";
        }
        std::cerr << line << "\x1b[K" << std::flush;
    }

private:
    static bool is_terminal() {
#if defined(_WIN32)
        return _isatty(2) != 0;
#else
        return ::isatty(2) != 0;
#endif
    }

    std::size_t count_, done_ = 0;
    bool shown_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Calls each(path, image, progress) for every picture. One that cannot be read is named on standard error, the others
/// go on, and the result is a failure. Anything else that is thrown ends it all.
inline int for_each_image(const std::string& program, const std::vector<std::filesystem::path>& paths,
                          const std::function<void(const std::filesystem::path&, const ev::Image&, Progress&)>& each) {
    std::size_t broken = 0;
    {
        Progress progress(paths.size());
        for (const std::filesystem::path& path : paths) {
            ev::Image image;
            try {
                image = ev::read_image(path);
            } catch (const ev::ImageError& error) {
                progress.say(program + ": " + error.what());
                ++broken;
            }
            if (!image.empty()) each(path, image, progress);
            progress.step();
        }
    }
    if (broken == 0) return EXIT_SUCCESS;
    std::cerr << program << ": " << broken << " of " << paths.size() << " pictures could not be read\n";
    return EXIT_FAILURE;
}

}  // namespace examples
