// SPDX-License-Identifier: Apache-2.0
//
// Connected regions of a mask, and their removal where they are small, as the reference's remove_small_regions.
#pragma once

#include <efficientvit/images/mask.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// What is too small to stay.
enum class SmallRegions {
    holes,   ///< regions of 0, which become 1
    islands  ///< regions of 1, which become 0
};

namespace detail {

/// Regions of pixels of one value that touch, also at corners: runs of rows, and the region that each belongs to.
class Regions {
public:
    struct Run {
        int y, begin, end, region;
    };

    Regions(const Mask& mask, std::uint8_t value) {
        std::size_t above = 0;  // the first run of the row above
        for (int y = 0; y < mask.height; ++y) {
            const std::size_t first = runs_.size();
            const std::uint8_t* const row = mask.row(y);
            for (int x = 0; x < mask.width;) {
                x = static_cast<int>(std::find(row + x, row + mask.width, value) - row);
                if (x == mask.width) break;
                const int end =
                    static_cast<int>(std::find(row + x, row + mask.width, static_cast<std::uint8_t>(1 - value)) - row);
                runs_.push_back({y, x, end, static_cast<int>(runs_.size())});
                x = end;
            }
            join(above, first);
            above = first;
        }
        number(mask.width);
    }

    const std::vector<Run>& runs() const { return runs_; }
    /// Pixels of each region.
    const std::vector<std::int64_t>& areas() const { return areas_; }
    /// The largest region; of equal ones that which OpenCV would number first: it goes through blocks of 2 x 2 pixels.
    int largest() const {
        std::size_t best = 0;
        for (std::size_t i = 1; i < areas_.size(); ++i) {
            if (std::pair(areas_[best], -blocks_[best]) < std::pair(areas_[i], -blocks_[i])) best = i;
        }
        return static_cast<int>(best);
    }

private:
    /// Joins the runs from `first` on with those of the row above that they touch.
    void join(std::size_t above, std::size_t first) {
        const std::size_t end_above = first;
        if (above == end_above || first == runs_.size() || runs_[above].y != runs_[first].y - 1) return;
        for (std::size_t i = first; i < runs_.size(); ++i) {
            while (above < end_above && runs_[above].end < runs_[i].begin) ++above;
            for (std::size_t j = above; j < end_above && runs_[j].begin <= runs_[i].end; ++j) {
                const int a = root(static_cast<int>(i)), b = root(static_cast<int>(j));
                runs_[static_cast<std::size_t>(std::max(a, b))].region = std::min(a, b);
            }
        }
    }
    int root(int i) {
        while (runs_[static_cast<std::size_t>(i)].region != i) {
            int& up = runs_[static_cast<std::size_t>(i)].region;
            up = runs_[static_cast<std::size_t>(up)].region;  // halves the way for the next time
            i = up;
        }
        return i;
    }
    void number(int width) {
        const std::int64_t blocks_of_row = (width + 1) / 2;
        for (std::size_t i = 0; i < runs_.size(); ++i) {
            Run& run = runs_[i];
            const auto up = static_cast<std::size_t>(run.region);  // an earlier run, which has its number, or itself
            const std::int64_t block = run.y / 2 * blocks_of_row + run.begin / 2;
            if (up == i) {
                run.region = static_cast<int>(areas_.size());
                areas_.push_back(0);
                blocks_.push_back(block);
            } else {
                run.region = runs_[up].region;
            }
            const auto region = static_cast<std::size_t>(run.region);
            areas_[region] += run.end - run.begin;
            blocks_[region] = std::min(blocks_[region], block);
        }
    }

    std::vector<Run> runs_;
    std::vector<std::int64_t> areas_, blocks_;
};

}  // namespace detail

/// Removes regions of fewer than `area` pixels, which touch also at corners; whether there were any. Where all islands
/// are smaller the largest stays.
inline bool remove_small_regions(Mask& mask, double area, SmallRegions which) {
    const bool holes = which == SmallRegions::holes;
    const detail::Regions regions(mask, holes ? 0 : 1);
    const std::vector<std::int64_t>& areas = regions.areas();
    std::vector<std::uint8_t> goes(areas.size());
    std::transform(areas.begin(), areas.end(), goes.begin(),
                   [&](std::int64_t n) -> std::uint8_t { return static_cast<double>(n) < area ? 1 : 0; });
    if (std::find(goes.begin(), goes.end(), 1) == goes.end()) return false;
    if (!holes && std::find(goes.begin(), goes.end(), 0) == goes.end()) {
        goes[static_cast<std::size_t>(regions.largest())] = 0;
    }
    for (const detail::Regions::Run& run : regions.runs()) {
        if (goes[static_cast<std::size_t>(run.region)] == 0) continue;
        std::uint8_t* const row = mask.row(run.y);
        std::fill(row + run.begin, row + run.end, static_cast<std::uint8_t>(holes ? 1 : 0));
    }
    return true;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
