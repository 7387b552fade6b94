// A frame to the network's input: resized bilinearly in fixed point, rows of the border filled, in one pass.
//
// Bit-identical to OpenCV's INTER_LINEAR on uint8: along rows with 11-bit weights, kept in 15 bits, then along
// columns, with the same order of rounding. fcn_edge/transforms.py computes the weights.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "arithmetic.hpp"

namespace fcn_edge {

constexpr int pixel_bytes = 3;

// For each pixel of one axis: the lower source pixel, rising from -1 (which stands for the first), and 2048ths of it and of the next one.
struct FixedTaps {
    const std::int32_t* low;
    const std::int32_t* weights;  // (pixels, 2)
    int pixels;
};

// Rows of `width` pixels BGR, `stride` bytes apart.
struct Picture {
    const std::uint8_t* data;
    std::ptrdiff_t stride;
    int height, width;

    const std::uint8_t* row(int y) const { return data + std::clamp(y, 0, height - 1) * stride; }
};

// The output (height, width): the resized image at (top, left), a border colour around it.
struct Letter {
    std::uint8_t* out;
    int height, width, top, left;
    const std::uint8_t* border;

    std::uint8_t* row(int y) const { return out + static_cast<std::ptrdiff_t>(y) * width * pixel_bytes; }
};

// Per thread: source rows resized along x, three values per pixel, and the indices of these rows.
struct RowPair {
    std::vector<std::int16_t> values[2];
    int row[2];
};

FCN_EDGE_INLINE std::int16_t along_row(std::int32_t low, std::int32_t next, std::int32_t first, std::int32_t second) {
    return static_cast<std::int16_t>((low * first + next * second) >> 4);
}

// Four bytes; the first three are a pixel.
FCN_EDGE_INLINE void widened(const std::uint8_t* pixel, std::int32_t* out) {
    for (int c = 0; c < 4; ++c) out[c] = pixel[c];
}

// Pixels of a resized row whose source pixels can be read four bytes at a time.
struct Wide {
    int start, end;
};

inline Wide wide_pixels(const FixedTaps& x, int source_width) {
    const auto place = [&x](int low) { return static_cast<int>(std::upper_bound(x.low, x.low + x.pixels, low) - x.low); };
    const int start = place(-1);
    return {start, std::max(start, place(source_width - 3))};
}

// Pixels start .. end - 1 of a row, one value at a time.
FCN_EDGE_INLINE void resize_edge(const std::uint8_t* source, int source_width, const FixedTaps& x, int start, int end,
                                 std::int16_t* out) {
    for (int pixel = start; pixel < end; ++pixel) {
        const int low = std::max(x.low[pixel], 0), next = std::min(x.low[pixel] + 1, source_width - 1);
        for (int c = 0; c < pixel_bytes; ++c)
            out[pixel * pixel_bytes + c] = along_row(source[low * pixel_bytes + c], source[next * pixel_bytes + c],
                                                     x.weights[2 * pixel], x.weights[2 * pixel + 1]);
    }
}

// One source row along x. Loads and stores are four values wide; the next pixel overwrites the fourth, and
// `out` has space for one more after the last.
FCN_EDGE_INLINE void resize_row(const std::uint8_t* source, int source_width, const FixedTaps& x, const Wide& wide,
                                std::int16_t* out) {
    const std::int32_t *lows = x.low, *weights = x.weights;
    resize_edge(source, source_width, x, 0, wide.start, out);
    std::int16_t* at = out + wide.start * pixel_bytes;
    for (int pixel = wide.start; pixel < wide.end; ++pixel) {
        const std::uint8_t* low = source + static_cast<std::ptrdiff_t>(lows[pixel]) * pixel_bytes;
        const std::int32_t first = weights[2 * pixel], second = weights[2 * pixel + 1];
        std::int32_t from[4], next[4];
        std::int16_t value[4];
        widened(low, from), widened(low + pixel_bytes, next);
        for (int c = 0; c < 4; ++c) value[c] = along_row(from[c], next[c], first, second);
        std::memcpy(at, value, sizeof value);
        at += pixel_bytes;
    }
    resize_edge(source, source_width, x, wide.end, x.pixels, out);
}

// Interpolate `count` values between two rows of 15 bits.
FCN_EDGE_INLINE void mix_rows(const std::int16_t* first, const std::int16_t* second, int first_weight,
                              int second_weight, int count, std::uint8_t* out) {
    const auto a = static_cast<std::int16_t>(first_weight), b = static_cast<std::int16_t>(second_weight);
#pragma omp simd
    for (int i = 0; i < count; ++i) {
        const auto upper = static_cast<std::int16_t>((first[i] * a) >> 16);
        const auto lower = static_cast<std::int16_t>((second[i] * b) >> 16);
        out[i] = static_cast<std::uint8_t>(static_cast<std::int16_t>(upper + lower + 2) >> 2);
    }
}

inline void fill_pixels(const std::uint8_t* colour, int count, std::uint8_t* out) {
    for (int i = 0; i < count * pixel_bytes; ++i) out[i] = colour[i % pixel_bytes];
}

}  // namespace fcn_edge
