// Class map from a score map: bilinear sampling, rows first, then columns, then arg-max.
//
// Gives the bits of `reference_class_map` in fcn_edge/transforms.py; arithmetic.hpp says how.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
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

constexpr int lanes = 16;  // pixels compared at once, in registers: two of AVX2, four of NEON or SSE

inline std::vector<Run> runs_from_taps(const Taps& taps, int cells) {
    std::vector<Run> runs;
    for (int pixel = 0; pixel < taps.pixels; ++pixel) {
        const int low = taps.low[pixel];
        if (runs.empty() || runs.back().low != low) runs.push_back({low, std::min(low + 1, cells - 1), pixel, pixel});
        runs.back().end = pixel + 1;
    }
    return runs;
}

// One row of the score map at height `y`: scores (C, h, w) -> row (C, w).
FCN_EDGE_INLINE void row_from_scores(const float* scores, int classes, int height, int width, int low, float weight,
                                     float* row) {
    const std::size_t map = static_cast<std::size_t>(height) * width;
    const float* first = scores + static_cast<std::size_t>(low) * width;
    const float* second = scores + static_cast<std::size_t>(std::min(low + 1, height - 1)) * width;
    for (int c = 0; c < classes; ++c, first += map, second += map, row += width)
        for (int x = 0; x < width; ++x) row[x] = between(first[x], second[x], weight);
}

// `lanes` pixels of one run. weight and out have room for all lanes, also past the run's end.
// `omp simd` (-fopenmp-simd, no OpenMP library) keeps `best` and `winner` in registers: 7 times quicker (GCC 12).
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

// scores (C, h, w) float32, 1 <= C <= 256; taps.low within the map -> out (H, W) uint8.
FCN_EDGE_INLINE void class_map_from_scores(const float* scores, int classes, int height, int width, const Taps& y,
                                           const Taps& x, std::uint8_t* out) {
    const std::vector<Run> runs = runs_from_taps(x, width);
    std::vector<float> row(static_cast<std::size_t>(classes) * width);
    std::vector<float> weight(x.weight, x.weight + x.pixels);
    weight.resize(weight.size() + lanes);
    std::vector<std::uint8_t> line(weight.size());  // blocks overhang a run; the next run writes over that
    for (int pixel = 0; pixel < y.pixels; ++pixel, out += x.pixels) {
        row_from_scores(scores, classes, height, width, y.low[pixel], y.weight[pixel], row.data());
        for (const Run& run : runs)
            for (int start = run.start; start < run.end; start += lanes)
                block_from_row(row.data(), classes, width, run, weight.data() + start, line.data() + start);
        std::copy_n(line.data(), x.pixels, out);
    }
}

}  // namespace fcn_edge
