// SPDX-License-Identifier: Apache-2.0
//
// Pictures one after the other, with a bar on the terminal that shows how far it is. What goes wrong with one of them
// is said and counted here, and never ends a run.
#pragma once

#include <efficientvit/images/codec.hpp>
#include <efficientvit/tensor.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "text.hpp"

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

/// Throws std::runtime_error where what a network gave is not finite numbers, which would be kept or drawn in silence.
inline void check_finite(const ev::Tensor& tensor, const std::string& name) {
    const float* const end = tensor.data() + tensor.size();
    if (std::all_of(tensor.data(), end, [](float x) { return std::isfinite(x); })) return;
    throw std::runtime_error("the network's " + name + " are not finite numbers: are its weights damaged?");
}

/// What went wrong with single pictures: each is named with its reason and counted, and the run goes on.
class PictureLog {
public:
    PictureLog(std::string program, std::size_t pictures, Progress& progress,
               ev::ReadOptions how = {.apply_orientation = true})
        : program_(std::move(program)), pictures_(pictures), progress_(progress), how_(how) {}

    /// Reads a picture, turned as the camera was held unless it was said otherwise, and calls use(image). Whether
    /// nothing was thrown, for whatever reason: a file that is broken, memory that does not suffice, a result that
    /// cannot be written.
    bool attempt(const std::filesystem::path& path, const std::function<void(const ev::Image&)>& use) {
        std::size_t* count = &unreadable_;
        try {
            ev::find_images(path);  // says of a path that means no picture why not
            const ev::Image image = ev::read_image(path, how_);
            count = &failed_;
            use(image);
            return true;
        } catch (const std::exception& error) {
            ++*count;
            const std::string name = shown(path), why = reason(error);
            progress_.say(program_ + ": " + (why.find(name) == std::string::npos ? name + ": " + why : why));
        }
        return false;
    }

    /// Says how many there were; the exit status.
    int status() const {
        const auto say = [&](std::size_t count, const char* what) {
            if (count == 0) return;
            std::cerr << program_ << ": " << count << " of " << pictures_ << " pictures could not be " << what << '\n';
        };
        say(unreadable_, "read");
        say(failed_, "processed");
        return unreadable_ + failed_ == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }

private:
    std::string program_;
    std::size_t pictures_, unreadable_ = 0, failed_ = 0;
    Progress& progress_;
    ev::ReadOptions how_;
};

/// Calls each(path, image, progress) for every picture. One that fails, in being read or in each(), is named on
/// standard error, the others go on, and the result is a failure.
inline int for_each_image(const std::string& program, const std::vector<std::filesystem::path>& paths,
                          const std::function<void(const std::filesystem::path&, const ev::Image&, Progress&)>& each) {
    Progress progress(paths.size());
    PictureLog log(program, paths.size(), progress);
    for (const std::filesystem::path& path : paths) {
        log.attempt(path, [&](const ev::Image& image) { each(path, image, progress); });
        progress.step();
    }
    progress.hide();
    return log.status();
}

}  // namespace examples
