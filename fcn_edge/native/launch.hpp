// Kernels for a GPU or, with a compiler other than nvcc, as a loop over their threads on the CPU.
//
// On the CPU `launch_NAME(grid, block, arguments)` takes the arguments of cuLaunchKernel, and `sizes_NAME` has the
// size of each argument, ended by 0. This tests indexing, bounds and arithmetic, but not races.
#pragma once

#include <cstdint>

#include "arithmetic.hpp"

#if defined(__CUDACC__)

#include <cuda_fp16.h>

#define KERNEL extern "C" __global__ void
#define LAUNCHABLE(name)

namespace fcn_edge {

using Half = __half;

__device__ inline float float_from(float value) { return value; }
__device__ inline float float_from(Half value) { return __half2float(value); }
__device__ inline void add(std::uint32_t* sum, std::uint32_t count) { atomicAdd(sum, count); }

}  // namespace fcn_edge

#else

#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#define __device__
#define KERNEL static void
#define LAUNCHABLE(name)                                                                                     \
    extern "C" const std::uint32_t* sizes_##name() { return fcn_edge::sizes_of(&name); }                     \
    extern "C" void launch_##name(const std::uint32_t* grid, const std::uint32_t* block, void** arguments) { \
        fcn_edge::run_threads(&name, grid, block, arguments);                                                \
    }

namespace fcn_edge {

struct Three {
    std::uint32_t x, y, z;
};

struct Half {
    std::uint16_t bits;
};

inline float float_from(float value) { return value; }

// binary16: 1 sign, 5 exponent and 10 fraction bits (IEEE 754-2008, 3.6).
inline float float_from(Half value) {
    const int exponent = value.bits >> 10 & 31, fraction = value.bits & 1023;
    float magnitude;
    if (exponent == 31)
        magnitude = fraction ? NAN : INFINITY;
    else
        magnitude = std::ldexp(static_cast<float>(exponent ? fraction | 1024 : fraction), (exponent ? exponent : 1) - 25);
    return value.bits >> 15 ? -magnitude : magnitude;
}

inline void add(std::uint32_t* sum, std::uint32_t count) { *sum += count; }

}  // namespace fcn_edge

static thread_local fcn_edge::Three gridDim, blockDim, blockIdx, threadIdx;

namespace fcn_edge {

template <typename... Arguments>
const std::uint32_t* sizes_of(void (*)(Arguments...)) {
    static const std::uint32_t sizes[] = {sizeof(Arguments)..., 0};
    return sizes;
}

template <typename... Arguments, std::size_t... Places>
void run_thread(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Places...>) {
    kernel(*static_cast<Arguments*>(arguments[Places])...);
}

template <typename... Arguments>
void run_threads(void (*kernel)(Arguments...), const std::uint32_t* grid, const std::uint32_t* block,
                 void** arguments) {
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
    for (std::uint32_t b = 0; b < gridDim.x * gridDim.y * gridDim.z; ++b)
        for (std::uint32_t t = 0; t < blockDim.x * blockDim.y * blockDim.z; ++t) {
            blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
            threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
            run_thread(kernel, arguments, std::index_sequence_for<Arguments...>{});
        }
}

}  // namespace fcn_edge

#endif
