// SPDX-License-Identifier: Apache-2.0
//
// How many threads this process has CPUs for: what it may run on, and what a container lets it have of them.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/runtime/affinity.hpp>
#include <efficientvit/runtime/platform.hpp>

#include <algorithm>
#if EFFICIENTVIT_HAS_THREADS
#include <thread>
#endif

#if defined(__linux__)
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

#if defined(__linux__)
/// The CPU quotas of this process's control groups (version 1, 2 or both), from /proc and what is mounted.
class CpuQuota {
public:
    /// root: put before every path, for tests.
    EFFICIENTVIT_COLD explicit CpuQuota(std::string root = {}) : root_(std::move(root)) {
        for (const std::string& line : lines(root_ + "/proc/self/cgroup")) {
            // number:controllers:path; version 2 has no controllers.
            const std::size_t first = line.find(':'), second = line.find(':', first + 1);
            if (second == std::string::npos) continue;
            const std::string controllers = line.substr(first + 1, second - first - 1);
            if (controllers.empty() || has_word(controllers, "cpu")) {
                limit_by(controllers.empty(), line.substr(second + 1));
            }
        }
    }

    /// CPUs that may be used, in parts of one; infinite where there is no quota.
    double cpus() const { return cpus_; }

private:
    EFFICIENTVIT_COLD static std::vector<std::string> lines(const std::string& path) {
        std::vector<std::string> out;
        std::FILE* const file = std::fopen(path.c_str(), "re");
        if (file == nullptr) return out;
        std::string line;
        for (int c; (c = std::fgetc(file)) != EOF;) {
            if (c != '\n') {
                line += static_cast<char>(c);
            } else {
                out.push_back(std::exchange(line, {}));
            }
        }
        if (!line.empty()) out.push_back(line);
        std::fclose(file);
        return out;
    }

    static bool has_word(const std::string& list, const char* word) {
        return ("," + list + ",").find("," + std::string(word) + ",") != std::string::npos;
    }

    EFFICIENTVIT_COLD static std::vector<std::string> words(const std::string& line) {
        std::vector<std::string> out(1);
        for (const char c : line) {
            if (c == ' ') {
                out.emplace_back();
            } else {
                out.back() += c;
            }
        }
        return out;
    }

    /// As mountinfo writes paths: spaces and the like as \040.
    EFFICIENTVIT_COLD static std::string unescaped(const std::string& path) {
        std::string out;
        for (std::size_t i = 0; i < path.size(); ++i) {
            if (path[i] == '\\' && i + 3 < path.size()) {
                out += static_cast<char>(std::strtol(path.substr(i + 1, 3).c_str(), nullptr, 8));
                i += 3;
            } else {
                out += path[i];
            }
        }
        return out;
    }

    /// All groups from `group` up to the top of where they are mounted: the narrowest counts.
    EFFICIENTVIT_COLD void limit_by(bool version2, const std::string& group) {
        for (const std::string& line : lines(root_ + "/proc/self/mountinfo")) {
            // id, parent, device, root, mount point, options, optional fields, "-", type, source, options
            const std::vector<std::string> field = words(line);
            const auto dash = std::find(field.begin(), field.end(), "-");
            if (field.size() < 6 || field.end() - dash < 4) continue;
            if (version2 ? dash[1] != "cgroup2" : dash[1] != "cgroup" || !has_word(dash[3], "cpu")) continue;
            const std::string top = unescaped(field[3]), mount = root_ + unescaped(field[4]);
            // In a container what is mounted may begin at the process's own group.
            const bool below = top == "/" || group == top || group.compare(0, top.size() + 1, top + "/") == 0;
            std::string path = !below ? "" : top == "/" ? group : group.substr(top.size());
            if (path == "/" || path.find("/..") != std::string::npos) path.clear();
            for (;; path.erase(path.rfind('/'))) {
                limit_to(version2, mount + path);
                if (path.rfind('/') == std::string::npos) break;
            }
            return;
        }
    }

    EFFICIENTVIT_COLD void limit_to(bool version2, const std::string& folder) {
        const auto first_line = [&](const char* file) {
            const std::vector<std::string> all = lines(folder + file);
            return all.empty() ? std::string() : all[0];
        };
        double quota = 0, period = 0;
        if (version2) {
            if (std::sscanf(first_line("/cpu.max").c_str(), "%lf %lf", &quota, &period) != 2) return;  // "max 100000"
        } else {
            quota = std::atof(first_line("/cpu.cfs_quota_us").c_str());  // -1: none
            period = std::atof(first_line("/cpu.cfs_period_us").c_str());
        }
        if (quota > 0 && period > 0) cpus_ = std::min(cpus_, quota / period);
    }

    std::string root_;
    double cpus_ = HUGE_VAL;
};

/// Threads for a quota: parts of a CPU count as one.
inline int within_quota(int cpus, double quota) {
    return std::max(1, quota < cpus ? static_cast<int>(std::ceil(quota)) : cpus);
}
#endif

}  // namespace detail

/// How many threads can run at the same time, at least one: the CPUs that the calling thread may run on, and on Linux
/// no more than the CPU quotas of the process's control groups (cgroup versions 1 and 2), rounded up. Reads files under
/// /proc and /sys there: to be asked once, not in a loop.
EFFICIENTVIT_COLD inline int available_threads() {
    int cpus = static_cast<int>(detail::allowed_cpus().size());
#if EFFICIENTVIT_HAS_THREADS
    if (cpus == 0) cpus = static_cast<int>(std::thread::hardware_concurrency());
#endif
#if defined(__linux__)
    return detail::within_quota(cpus, detail::CpuQuota().cpus());
#else
    return std::max(1, cpus);
#endif
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
