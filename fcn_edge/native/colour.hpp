// Class map to overlay: blends each class's colour with the frame and counts the pixels of each class.
//
// The arithmetic of `reference_overlay` in fcn_edge/transforms.py, in 16-bit integers.
#pragma once

#include <cstdint>
#include <cstring>

#include "arithmetic.hpp"
#include "class_map.hpp"

namespace fcn_edge {

constexpr int channels = 3;
constexpr int block = lanes * channels;  // bytes of `lanes` pixels

// Factors and summands for `lanes` pixels of one class (see `blended`).
struct Ink {
    std::uint16_t weight;
    std::uint16_t bias[block];
};

// table: (256, 4) uint16, a class's weight and its bias for B, G, R.
inline void ink_from_table(const std::uint16_t* table, int classes, Ink* ink) {
    for (int c = 0; c < classes; ++c, table += 4) {
        ink[c].weight = table[0];
        for (int i = 0; i < block; ++i) ink[c].bias[i] = table[1 + i % channels];
    }
}

// The first pixel after `start` with another class than `start`, or `end`.
FCN_EDGE_INLINE int end_of_class(const std::uint8_t* line, int start, int end) {
    const std::uint8_t own = line[start];
    int i = start + 1;
    const std::uint64_t eight = 0x0101010101010101u * own;
    for (; i + 8 <= end; i += 8) {
        std::uint64_t found;
        std::memcpy(&found, line + i, 8);
        if (found != eight) break;
    }
    while (i < end && line[i] == own) ++i;
    return i;
}

FCN_EDGE_INLINE void blend_pixels(const std::uint8_t* image, const Ink& ink, int bytes, std::uint8_t* out) {
    const std::uint16_t weight = ink.weight;
#pragma omp simd
    for (int i = 0; i < bytes; ++i) out[i] = blended(image[i], weight, ink.bias[i]);
}

// One row: counts += pixels of each class; if `image` is set, the overlay into `out`, run by run.
// The next run overwrites what a block writes past its run; no block writes past the row, since other threads
// write other rows.
FCN_EDGE_INLINE void colour_line(const std::uint8_t* line, int pixels, const std::uint8_t* image, const Ink* ink,
                                 std::uint8_t* out, std::int64_t* counts) {
    for (int start = 0, end; start < pixels; start = end) {
        end = end_of_class(line, start, pixels);
        counts[line[start]] += end - start;
        if (image == nullptr) continue;
        const Ink& own = ink[line[start]];
        int i = start;
        for (; i < end && i + lanes <= pixels; i += lanes)
            blend_pixels(image + i * channels, own, block, out + i * channels);
        if (i < end) blend_pixels(image + i * channels, own, (end - i) * channels, out + i * channels);
    }
}

}  // namespace fcn_edge
