// Arithmetic for one pixel, shared by the CPU library, the CUDA kernels and their tests.
//
// The numpy code in fcn_edge/transforms.py is the reference. Results must be bit-identical, so every
// operation is one float32 operation: build with contraction off (-ffp-contract=off; nvcc:
// -fmad=false) and without fast-math.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FCN_EDGE_INLINE __host__ __device__ inline
#elif defined(__GNUC__)
#define FCN_EDGE_INLINE inline __attribute__((always_inline))  // into each clone of the caller
#else
#define FCN_EDGE_INLINE inline
#endif

namespace fcn_edge {

// The value between two neighbours; `weight` is the share of the second, 0 <= weight <= 1.
FCN_EDGE_INLINE float between(float first, float second, float weight) {
    return first * (1.0f - weight) + second * weight;
}

// Whether a later class replaces the best one so far: ties go to the lower class, and the
// first NaN wins, as in numpy's argmax.
FCN_EDGE_INLINE bool beats(float value, float best) {
    return !(value <= best) & (best == best);
}

// Neither NaN nor infinite.
FCN_EDGE_INLINE bool is_finite(float value) {
    return value - value == 0.0f;
}

// One channel of one pixel of an overlay. weight: of the frame, 0..256; bias: (256 - weight) * colour + 128.
FCN_EDGE_INLINE std::uint8_t blended(std::uint8_t pixel, std::uint16_t weight, std::uint16_t bias) {
    return static_cast<std::uint8_t>(static_cast<std::uint16_t>(pixel * weight + bias) >> 8);
}

// A channel value 0..255 to the nearest level, halves up.
FCN_EDGE_INLINE std::uint8_t level(float value) {
    return static_cast<std::uint8_t>(value + 0.5f);
}

struct Bgr {
    std::uint8_t b, g, r;
};

FCN_EDGE_INLINE std::uint8_t saturated(int value) {
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// BT.601 at limited range in 20-bit fixed point, as in OpenCV's COLOR_YUV2BGR_NV12.
FCN_EDGE_INLINE Bgr bgr_from_yuv(int y, int u, int v) {
    constexpr int shift = 20, half = 1 << (shift - 1);
    const int luma = (y > 16 ? y - 16 : 0) * 1220542 + half;
    u -= 128, v -= 128;
    return {saturated((luma + 2116026 * u) >> shift), saturated((luma - 409993 * u - 852492 * v) >> shift),
            saturated((luma + 1673527 * v) >> shift)};
}

}  // namespace fcn_edge
