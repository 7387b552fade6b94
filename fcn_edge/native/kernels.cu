// A frame to the network's input, and the network's output to class map and overlay, on the device.
//
// One thread per pixel of the input, or per short column of the frame. Frames are (H, W, 3) uint8 BGR, or NV12:
// H rows of Y, then H / 2 rows of interleaved U and V, H and W even; `pitch` is bytes from row to row. Taps are
// those of fcn_edge/transforms.py: taps, computed on the host once per frame size.
// Launch: block (x, y, 1) of any size; grid (width / x, ceil(rows / y), 1), rounded up.

#include "launch.hpp"

using namespace fcn_edge;

namespace {

constexpr int column = 8;  // pixels of one thread in a view: fewer additions to the same count
constexpr int not_finite = 256;  // index after the counts of the classes

struct BgrFrame {
    const std::uint8_t* data;
    int pitch, height;

    __device__ Bgr at(int y, int x) const {
        const std::uint8_t* pixel = data + static_cast<std::size_t>(y) * pitch + 3 * x;
        return {pixel[0], pixel[1], pixel[2]};
    }
};

struct Nv12Frame {
    const std::uint8_t* data;
    int pitch, height;

    __device__ Bgr at(int y, int x) const {
        const std::uint8_t* uv = data + static_cast<std::size_t>(height + y / 2) * pitch + x / 2 * 2;
        return bgr_from_yuv(data[static_cast<std::size_t>(y) * pitch + x], uv[0], uv[1]);
    }
};

// The frame's part of the network's input: `top`, `left`, rows and columns; taps for each of these.
struct Content {
    int top, left, rows, columns;
    const std::int32_t* y_low;
    const float* y_weight;
    const std::int32_t* x_low;
    const float* x_weight;
};

__device__ inline std::uint8_t resized(int a, int b, int c, int d, float down, float right) {
    const float first = between(static_cast<float>(a), static_cast<float>(b), right);
    const float second = between(static_cast<float>(c), static_cast<float>(d), right);
    return level(between(first, second, down));
}

// Pixel (y, x) of the network's input; outside of the content it is `border`.
template <typename Frame>
__device__ inline Bgr input_pixel(const Frame& frame, int width, const Content& content, Bgr border, int y, int x) {
    y -= content.top, x -= content.left;
    if (y < 0 || x < 0 || y >= content.rows || x >= content.columns) return border;
    const int up = content.y_low[y], left = content.x_low[x];
    const int below = up + 1 < frame.height ? up + 1 : up, beside = left + 1 < width ? left + 1 : left;
    const float down = content.y_weight[y], right = content.x_weight[x];
    const Bgr a = frame.at(up, left), b = frame.at(up, beside), c = frame.at(below, left), d = frame.at(below, beside);
    return {resized(a.b, b.b, c.b, d.b, down, right), resized(a.g, b.g, c.g, d.g, down, right),
            resized(a.r, b.r, c.r, d.r, down, right)};
}

// out (1, input_height, input_width, 3) uint8 BGR: the input of files with a contract.
template <typename Frame>
__device__ inline void input_frames(const Frame& frame, int width, const Content& content, std::uint32_t border,
                                    int input_height, int input_width, std::uint8_t* out) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= input_width || y >= input_height) return;
    const Bgr fill{static_cast<std::uint8_t>(border), static_cast<std::uint8_t>(border >> 8),
                   static_cast<std::uint8_t>(border >> 16)};
    const Bgr pixel = input_pixel(frame, width, content, fill, y, x);
    out += (static_cast<std::size_t>(y) * input_width + x) * 3;
    out[0] = pixel.b, out[1] = pixel.g, out[2] = pixel.r;
}

// Positions of a frame's pixels on the network's output (h, w).
struct Map {
    int classes, height, width;
    const std::int32_t* y_low;
    const float* y_weight;
    const std::int32_t* x_low;
    const float* x_weight;
};

// scores (C, h, w): the class with the highest score at pixel (y, x), rows interpolated first.
template <typename Value>
__device__ inline int class_at(const Value* scores, const Map& map, int y, int x) {
    const int up = map.y_low[y], left = map.x_low[x];
    const std::size_t below = up + 1 < map.height ? map.width : 0, beside = left + 1 < map.width ? 1 : 0;
    const float down = map.y_weight[y], right = map.x_weight[x];
    const std::size_t size = static_cast<std::size_t>(map.height) * map.width;
    scores += static_cast<std::size_t>(up) * map.width + left;
    float best = 0;
    int winner = 0;
    for (int c = 0; c < map.classes; ++c, scores += size) {
        const float first = between(float_from(scores[0]), float_from(scores[below]), down);
        const float second = between(float_from(scores[beside]), float_from(scores[below + beside]), down);
        const float value = between(first, second, right);
        if (c == 0 || beats(value, best)) best = value, winner = c;
    }
    return winner;
}

// classes (h, w): the class of the nearest cell, given by y_low and x_low.
__device__ inline int class_at(const std::uint8_t* classes, const Map& map, int y, int x) {
    return classes[static_cast<std::size_t>(map.y_low[y]) * map.width + map.x_low[x]];
}

// Fills class_map (H, W) uint8 and, unless it is null, overlay (H, W, 3) uint8 BGR, and adds to counts, one per class.
// table (256, 4) uint16: weight of the frame in 256ths, then the terms added for B, G and R.
template <typename Frame, typename Value>
__device__ inline void view(const Value* output, const Map& map, const Frame& frame, int width,
                            const std::uint16_t* table, std::uint8_t* class_map, std::uint8_t* overlay,
                            std::uint32_t* counts) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, start = (blockIdx.y * blockDim.y + threadIdx.y) * column;
    if (x >= width || start >= frame.height) return;
    const int end = start + column < frame.height ? start + column : frame.height;
    int last = -1;
    std::uint32_t equal = 0;
    for (int y = start; y < end; ++y) {
        const int winner = class_at(output, map, y, x);
        const std::size_t place = static_cast<std::size_t>(y) * width + x;
        class_map[place] = static_cast<std::uint8_t>(winner);
        if (winner != last && equal) add(counts + last, equal), equal = 0;
        last = winner, ++equal;
        if (overlay == nullptr) continue;
        const Bgr pixel = frame.at(y, x);
        const std::uint16_t* ink = table + 4 * winner;
        overlay[3 * place] = blended(pixel.b, ink[0], ink[1]);
        overlay[3 * place + 1] = blended(pixel.g, ink[0], ink[2]);
        overlay[3 * place + 2] = blended(pixel.r, ink[0], ink[3]);
    }
    add(counts + last, equal);
}

}  // namespace

// Before each view: set counts (257,) to zero. One block of 256.
KERNEL clear_counts(std::uint32_t* counts) {
    counts[threadIdx.x] = 0;
    if (threadIdx.x == 0) counts[not_finite] = 0;
}
LAUNCHABLE(clear_counts)

// Adds the number of NaN or infinite values (total,) to counts[256]. Blocks of any size, one thread per value.
#define COUNT_NOT_FINITE(name, Value)                                                                               \
    KERNEL name(const Value* values, int total, std::uint32_t* counts) {                                            \
        const int place = blockIdx.x * blockDim.x + threadIdx.x;                                                    \
        if (place < total && !is_finite(float_from(values[place]))) add(counts + not_finite, 1);                    \
    }                                                                                                               \
    LAUNCHABLE(name)

COUNT_NOT_FINITE(count_not_finite_f32, float)
COUNT_NOT_FINITE(count_not_finite_f16, Half)

#define CONTENT                                                                                                     \
    int top, int left, int rows, int columns, const std::int32_t *y_low, const float *y_weight,                     \
        const std::int32_t *x_low, const float *x_weight
#define FRAME const std::uint8_t *frame, int pitch, int height, int width

#define INPUT_FRAMES(name, Frame)                                                                                   \
    KERNEL name(FRAME, CONTENT, std::uint32_t border, int input_height, int input_width, std::uint8_t* out) {       \
        input_frames(Frame{frame, pitch, height}, width,                                                            \
                     Content{top, left, rows, columns, y_low, y_weight, x_low, x_weight}, border, input_height,     \
                     input_width, out);                                                                             \
    }                                                                                                               \
    LAUNCHABLE(name)

INPUT_FRAMES(input_frames_bgr, BgrFrame)
INPUT_FRAMES(input_frames_nv12, Nv12Frame)

#define VIEW(name, Frame, Value)                                                                                    \
    KERNEL name(const Value* output, int classes, int map_height, int map_width, const std::int32_t* y_low,         \
                const float* y_weight, const std::int32_t* x_low, const float* x_weight, FRAME,                     \
                const std::uint16_t* table, std::uint8_t* class_map, std::uint8_t* overlay,                         \
                std::uint32_t* counts) {                                                                            \
        view(output, Map{classes, map_height, map_width, y_low, y_weight, x_low, x_weight},                         \
             Frame{frame, pitch, height}, width, table, class_map, overlay, counts);                                \
    }                                                                                                               \
    LAUNCHABLE(name)

VIEW(view_bgr_f32, BgrFrame, float)
VIEW(view_bgr_f16, BgrFrame, Half)
VIEW(view_bgr_u8, BgrFrame, std::uint8_t)
VIEW(view_nv12_f32, Nv12Frame, float)
VIEW(view_nv12_f16, Nv12Frame, Half)
VIEW(view_nv12_u8, Nv12Frame, std::uint8_t)
