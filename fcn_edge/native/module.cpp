// fcn_edge._native: the compiled kernels. Every array is checked here; the headers trust their caller.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "class_map.hpp"

namespace nb = nanobind;

// FCN_EDGE_CLONES (CMakeLists.txt): instruction sets of which the best is taken when the module is loaded.
#if defined(FCN_EDGE_CLONES)
#define FCN_EDGE_MULTIVERSION __attribute__((target_clones(FCN_EDGE_CLONES)))
#else
#define FCN_EDGE_MULTIVERSION
#endif

namespace {

template <typename T, int Dims>
using Array = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;

[[noreturn]] void refuse(const std::string& message) {
    throw std::invalid_argument(message);  // ValueError in Python
}

fcn_edge::Taps taps_from_arrays(const std::string& axis, const Array<const std::int32_t, 1>& low,
                                const Array<const float, 1>& weight, std::size_t pixels, int cells) {
    if (low.shape(0) != pixels || weight.shape(0) != pixels)
        refuse(axis + "_low has " + std::to_string(low.shape(0)) + " values and " + axis + "_weight " +
               std::to_string(weight.shape(0)) + "; out has " + std::to_string(pixels) + " pixels there");
    for (std::size_t i = 0; i < pixels; ++i)
        if (low.data()[i] < 0 || low.data()[i] >= cells)
            refuse(axis + "_low[" + std::to_string(i) + "] is " + std::to_string(low.data()[i]) + "; the map has " +
                   std::to_string(cells) + " cells there");
    return {low.data(), weight.data(), static_cast<int>(pixels)};
}

FCN_EDGE_MULTIVERSION
void run_class_map(const float* scores, int classes, int height, int width, const fcn_edge::Taps& y,
                   const fcn_edge::Taps& x, std::uint8_t* out) {
    fcn_edge::class_map_from_scores(scores, classes, height, width, y, x, out);
}

void class_map(const Array<const float, 3>& scores, const Array<const std::int32_t, 1>& y_low,
               const Array<const float, 1>& y_weight, const Array<const std::int32_t, 1>& x_low,
               const Array<const float, 1>& x_weight, const Array<std::uint8_t, 2>& out) {
    constexpr std::size_t longest = 1 << 24;  // so that lengths and their sums fit an int
    if (std::max({scores.shape(1), scores.shape(2), out.shape(0), out.shape(1)}) > longest)
        refuse("an axis is longer than " + std::to_string(longest));
    if (scores.shape(0) < 1 || scores.shape(0) > 256)
        refuse(std::to_string(scores.shape(0)) + " classes; 1 to 256 fit a uint8 class map");
    const int classes = static_cast<int>(scores.shape(0));
    const int height = static_cast<int>(scores.shape(1)), width = static_cast<int>(scores.shape(2));
    const auto y = taps_from_arrays("y", y_low, y_weight, out.shape(0), height);
    const auto x = taps_from_arrays("x", x_low, x_weight, out.shape(1), width);
    const nb::gil_scoped_release unlocked;
    run_class_map(scores.data(), classes, height, width, y, x, out.data());
}

}  // namespace

NB_MODULE(_native, module) {
    using namespace nb::literals;
    module.doc() = "Compiled kernels; fcn_edge.transforms holds the reference and the callers.";
    module.def("class_map", &class_map, "scores"_a.noconvert(), "y_low"_a.noconvert(), "y_weight"_a.noconvert(),
               "x_low"_a.noconvert(), "x_weight"_a.noconvert(), "out"_a.noconvert(),
               "Fill out (H, W) uint8 with the arg-max of scores (C, h, w) float32, sampled bilinearly.\n\n"
               "y_low (H,) and x_low (W,) int32: lower cell of each pixel; y_weight and x_weight float32: share of\n"
               "the next cell. All arrays are C-contiguous. Gives the bits of transforms.reference_class_map.\n\n"
               "Raises ValueError for shapes or cells that do not fit, TypeError for another type or layout.");
}
