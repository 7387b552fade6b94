// Class map from a score map: bilinear sampling, rows first, then columns, then arg-max.
//
// Bit-identical to `reference_class_map` in fcn_edge/transforms.py (see arithmetic.hpp).
//
// Most pixels lie between cells of the same class; these are not interpolated: if one class is above
// another at both ends of a line, it is above it along the line. `margin` ensures this for rounded
// values, which may tie where the exact ones do not.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "arithmetic.hpp"

namespace fcn_edge {

// For each pixel of one axis: the lower cell and the weight of the next one.
struct Taps {
    const std::int32_t* low;
    const float* weight;
    int pixels;
};

// Pixels start .. end - 1 of a row, which all lie between cells `low` and `next`.
struct Run {
    int low, next, start, end;
};

// (C, h, w) float32.
struct Scores {
    const float* data;
    int classes, height, width;
};

constexpr int lanes = 16;      // pixels or cells compared at once: one register of AVX-512, two of AVX2, four of NEON
constexpr int unsure = -1;     // no class exceeds the others by the margin at a cell
constexpr float tame = 1e37f;  // above it sums may overflow, so every cell is unsure

// Margin relative to the best score. The relative error of `between` is below 2^-22.
constexpr float margin = 1.0f / (1 << 19);

inline void runs_from_taps(const Taps& taps, int cells, std::vector<Run>& runs) {
    runs.clear();
    for (int pixel = 0; pixel < taps.pixels; ++pixel) {
        const int low = taps.low[pixel];
        if (runs.empty() || runs.back().low != low) runs.push_back({low, std::min(low + 1, cells - 1), pixel, pixel});
        runs.back().end = pixel + 1;
    }
}

// Whether every score is a number small enough for `margin` to hold.
FCN_EDGE_INLINE bool is_tame(const float* scores, std::size_t count) {
    int wild = 0;
#pragma omp simd reduction(| : wild)
    for (std::size_t i = 0; i < count; ++i) wild |= !(std::fabs(scores[i]) <= tame);
    return wild == 0;
}

// `count` cells of one row, all classes: the scores at a height between map rows `first` and `second`, into
// row (C, w), and each cell's class into `winner`, or `unsure` if another class is within the margin.
FCN_EDGE_INLINE void cells_from_scores(const float* first, const float* second, const Scores& scores, float weight,
                                       int count, float* row, std::int32_t* winner) {
    const std::size_t map = static_cast<std::size_t>(scores.height) * scores.width;
    float best[lanes], below[lanes];
    std::int32_t won[lanes];
#pragma omp simd
    for (int i = 0; i < count; ++i) {
        row[i] = best[i] = between(first[i], second[i], weight);
        below[i] = -std::numeric_limits<float>::infinity();
        won[i] = 0;
    }
    for (int c = 1; c < scores.classes; ++c) {
        first += map, second += map, row += scores.width;
#pragma omp simd
        for (int i = 0; i < count; ++i) {
            const float value = between(first[i], second[i], weight);
            const bool wins = value > best[i];
            row[i] = value;
            below[i] = wins ? best[i] : below[i];
            won[i] = wins ? c : won[i];
            best[i] = wins ? value : best[i];
        }
    }
#pragma omp simd
    for (int i = 0; i < count; ++i)
        winner[i] = best[i] - below[i] > margin * std::fabs(best[i]) + FLT_MIN ? won[i] : unsure;
}

// One row of the score map at the height of cell `low` and the `weight` of the next.
FCN_EDGE_INLINE void row_from_scores(const Scores& scores, int low, float weight, float* row, std::int32_t* winner) {
    const float* first = scores.data + static_cast<std::size_t>(low) * scores.width;
    const float* second = scores.data + static_cast<std::size_t>(std::min(low + 1, scores.height - 1)) * scores.width;
    int x = 0;
    for (; x + lanes <= scores.width; x += lanes)
        cells_from_scores(first + x, second + x, scores, weight, lanes, row + x, winner + x);
    if (x < scores.width)
        cells_from_scores(first + x, second + x, scores, weight, scores.width - x, row + x, winner + x);
}

// `lanes` pixels of one run. weight and out have space for all lanes, also past the run's end.
// `omp simd` (-fopenmp-simd, no OpenMP library) keeps `best` and `winner` in registers: 7 times faster (GCC 12).
FCN_EDGE_INLINE void block_from_row(const float* row, int classes, int width, const Run& run, const float* weight,
                                    std::uint8_t* out) {
    float best[lanes];
    std::int32_t winner[lanes];
#pragma omp simd
    for (int i = 0; i < lanes; ++i) {
        best[i] = between(row[run.low], row[run.next], weight[i]);
        winner[i] = 0;
    }
    for (int c = 1; c < classes; ++c) {
        row += width;
        const float first = row[run.low], second = row[run.next];
#pragma omp simd
        for (int i = 0; i < lanes; ++i) {
            const float value = between(first, second, weight[i]);
            const bool wins = beats(value, best[i]);
            best[i] = wins ? value : best[i];
            winner[i] = wins ? c : winner[i];
        }
    }
#pragma omp simd
    for (int i = 0; i < lanes; ++i) out[i] = static_cast<std::uint8_t>(winner[i]);
}

// One row of pixels. weight and line have space for `lanes` more; the next run overwrites what a block writes past its
// run.
FCN_EDGE_INLINE void line_from_row(const float* row, const std::int32_t* winner, const Scores& scores,
                                   const std::vector<Run>& runs, const float* weight, std::uint8_t* line) {
    for (const Run& run : runs) {
        const std::int32_t left = winner[run.low];
        if (left != unsure && left == winner[run.next])
            std::fill(line + run.start, line + run.end, static_cast<std::uint8_t>(left));
        else
            for (int start = run.start; start < run.end; start += lanes)
                block_from_row(row, scores.classes, scores.width, run, weight + start, line + start);
    }
}

}  // namespace fcn_edge
