// Confusion matrix of two class maps: pixels per pair of label and prediction.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace fcn_edge {

// out (256, 256). Neighbouring pairs are mostly equal, so a run of them is added at once: single additions
// to the same sum would depend on each other.
inline void count_pairs(const std::uint8_t* labels, const std::uint8_t* predicted, std::size_t pixels,
                        std::int64_t* out) {
    std::fill_n(out, 256 * 256, 0);
    for (std::size_t start = 0, end; start < pixels; start = end) {
        end = start + 1;
        while (end < pixels && labels[end] == labels[start] && predicted[end] == predicted[start]) ++end;
        out[labels[start] * 256 + predicted[start]] += static_cast<std::int64_t>(end - start);
    }
}

}  // namespace fcn_edge
