// fcn_edge._native: the compiled kernels. Every array is checked here; the headers do not check their arguments.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "confusion.hpp"
#include "workspace.hpp"

namespace nb = nanobind;
using namespace fcn_edge;

namespace {

template <typename T, int Dims>
using Array = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;
template <typename T, int Dims>
using Maybe = std::optional<Array<T, Dims>>;

constexpr std::size_t longest = 1 << 24;  // so that lengths and their sums fit an int

[[noreturn]] void refuse(const std::string& message) {
    throw std::invalid_argument(message);  // ValueError in Python
}

Taps taps_from_arrays(const std::string& axis, const Array<const std::int32_t, 1>& low,
                      const Array<const float, 1>& weight, std::size_t pixels, int cells) {
    if (low.shape(0) != pixels || weight.shape(0) != pixels)
        refuse(axis + "_low has " + std::to_string(low.shape(0)) + " values and " + axis + "_weight " +
               std::to_string(weight.shape(0)) + "; the class map has " + std::to_string(pixels) + " pixels there");
    for (std::size_t i = 0; i < pixels; ++i)
        if (low.data()[i] < 0 || low.data()[i] >= cells)
            refuse(axis + "_low[" + std::to_string(i) + "] is " + std::to_string(low.data()[i]) + "; the map has " +
                   std::to_string(cells) + " cells there");
    return {low.data(), weight.data(), static_cast<int>(pixels)};
}

template <typename T>
void require_picture(const std::string& name, const Array<T, 3>& picture, std::size_t height, std::size_t width) {
    if (picture.shape(0) != height || picture.shape(1) != width || picture.shape(2) != channels)
        refuse(name + " is not (" + std::to_string(height) + ", " + std::to_string(width) + ", 3)");
}

Canvas canvas_from_arrays(std::uint8_t* class_map, std::size_t height, std::size_t width,
                          const Maybe<const std::uint8_t, 3>& image, const Maybe<const std::uint16_t, 2>& table,
                          const Maybe<std::uint8_t, 3>& overlay, const Array<std::int64_t, 1>& counts) {
    if (std::max(height, width) > longest) refuse("an axis is longer than " + std::to_string(longest));
    if (counts.shape(0) != 256) refuse("counts has " + std::to_string(counts.shape(0)) + " values, not 256");
    if (image.has_value() != overlay.has_value() || image.has_value() != table.has_value())
        refuse("image, table and overlay: give all three or none");
    Canvas canvas{class_map, nullptr, nullptr, static_cast<int>(height), static_cast<int>(width)};
    if (!image.has_value()) return canvas;
    require_picture("image", *image, height, width);
    require_picture("overlay", *overlay, height, width);
    if (table->shape(0) != 256 || table->shape(1) != 4) refuse("table is not (256, 4)");
    if (image->data() == overlay->data()) refuse("overlay is the image itself");
    canvas.image = image->data(), canvas.overlay = overlay->data();
    return canvas;
}

void view(Workspace& workspace, const Array<const float, 3>& scores, const Array<const std::int32_t, 1>& y_low,
          const Array<const float, 1>& y_weight, const Array<const std::int32_t, 1>& x_low,
          const Array<const float, 1>& x_weight, const Array<std::uint8_t, 2>& class_map,
          const Array<std::int64_t, 1>& counts, const Maybe<const std::uint8_t, 3>& image,
          const Maybe<const std::uint16_t, 2>& table, const Maybe<std::uint8_t, 3>& overlay) {
    const auto canvas = canvas_from_arrays(class_map.data(), class_map.shape(0), class_map.shape(1), image, table,
                                           overlay, counts);
    if (std::max(scores.shape(1), scores.shape(2)) > longest)
        refuse("an axis is longer than " + std::to_string(longest));
    if (scores.shape(0) < 1 || scores.shape(0) > 256)
        refuse(std::to_string(scores.shape(0)) + " classes; 1 to 256 fit a uint8 class map");
    const Scores map{scores.data(), static_cast<int>(scores.shape(0)), static_cast<int>(scores.shape(1)),
                     static_cast<int>(scores.shape(2))};
    const auto y = taps_from_arrays("y", y_low, y_weight, class_map.shape(0), map.height);
    const auto x = taps_from_arrays("x", x_low, x_weight, class_map.shape(1), map.width);
    const nb::gil_scoped_release unlocked;
    workspace.view(map, y, x, canvas, table.has_value() ? table->data() : nullptr, counts.data());
}

void draw(Workspace& workspace, const Array<const std::uint8_t, 2>& class_map, const Array<std::int64_t, 1>& counts,
          const Maybe<const std::uint8_t, 3>& image, const Maybe<const std::uint16_t, 2>& table,
          const Maybe<std::uint8_t, 3>& overlay) {
    auto* read_only = const_cast<std::uint8_t*>(class_map.data());  // Workspace::draw writes only the overlay
    const auto canvas =
        canvas_from_arrays(read_only, class_map.shape(0), class_map.shape(1), image, table, overlay, counts);
    const nb::gil_scoped_release unlocked;
    workspace.draw(canvas, table.has_value() ? table->data() : nullptr, counts.data());
}

FixedTaps fixed_taps_from_arrays(const std::string& axis, const Array<const std::int32_t, 1>& low,
                                 const Array<const std::int32_t, 2>& weights, int pixels) {
    if (weights.shape(0) != low.shape(0) || weights.shape(1) != 2)
        refuse(axis + "_weights is not (" + std::to_string(low.shape(0)) + ", 2)");
    for (std::size_t i = 0; i < low.shape(0); ++i) {
        if (low.data()[i] < -1 || low.data()[i] >= pixels || (i > 0 && low.data()[i] < low.data()[i - 1]))
            refuse(axis + "_low[" + std::to_string(i) + "] is " + std::to_string(low.data()[i]) +
                   ": it must not fall, and the frame has " + std::to_string(pixels) + " pixels there");
        for (int which : {0, 1})
            if (const int weight = weights.data()[2 * i + which]; weight < 0 || weight > 2048)
                refuse(axis + "_weights: " + std::to_string(weight) + " is not 0 to 2048");
    }
    return {low.data(), weights.data(), static_cast<int>(low.shape(0))};
}

void resize(Workspace& workspace, const nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::device::cpu>& image,
            const Array<const std::int32_t, 1>& y_low, const Array<const std::int32_t, 2>& y_weights,
            const Array<const std::int32_t, 1>& x_low, const Array<const std::int32_t, 2>& x_weights,
            const Array<std::uint8_t, 3>& out, int top, int left, const Array<const std::uint8_t, 1>& border) {
    if (image.shape(2) != channels || image.stride(2) != 1 || image.stride(1) != channels)
        refuse("image is not (H, W, 3) with pixels side by side");
    if (std::max({image.shape(0), image.shape(1), out.shape(0), out.shape(1), y_low.shape(0), x_low.shape(0)}) > longest)
        refuse("an axis is longer than " + std::to_string(longest));
    const Picture picture{image.data(), image.stride(0), static_cast<int>(image.shape(0)),
                          static_cast<int>(image.shape(1))};
    const auto y = fixed_taps_from_arrays("y", y_low, y_weights, picture.height);
    const auto x = fixed_taps_from_arrays("x", x_low, x_weights, picture.width);
    const Letter letter{out.data(), static_cast<int>(out.shape(0)), static_cast<int>(out.shape(1)), top, left,
                        border.data()};
    if (out.shape(2) != channels || border.shape(0) != channels || top < 0 || left < 0 ||
        top + y.pixels > letter.height || left + x.pixels > letter.width)
        refuse("out is not (H, W, 3) with room for what is resized, or border is not (3,)");
    const nb::gil_scoped_release unlocked;
    workspace.resize(picture, y, x, letter);
}

void confusion(const Array<const std::uint8_t, 1>& labels, const Array<const std::uint8_t, 1>& predicted,
               const Array<std::int64_t, 2>& out) {
    if (labels.shape(0) != predicted.shape(0)) refuse("labels and predicted differ in length");
    if (out.shape(0) != 256 || out.shape(1) != 256) refuse("out is not (256, 256)");
    const nb::gil_scoped_release unlocked;
    count_pairs(labels.data(), predicted.data(), labels.shape(0), out.data());
}

}  // namespace

NB_MODULE(_native, module) {
    using namespace nb::literals;
    nb::set_leak_warnings(false);  // a workspace that lives until the program ends is not a leak
    module.doc() = "Compiled kernels; fcn_edge.transforms and fcn_edge.metrics hold the references and the callers.";
    nb::class_<Workspace>(module, "Workspace", "Threads and memory that drawing frames keeps from one to the next.")
        .def(
            "__init__",
            [](Workspace* self, int threads) {
                if (threads < 1 || threads > 256) refuse(std::to_string(threads) + " threads; 1 to 256 are possible");
                new (self) Workspace(threads);
            },
            "threads"_a)
        .def_prop_ro("threads", &Workspace::threads)
        .def("view", &view, "scores"_a.noconvert(), "y_low"_a.noconvert(), "y_weight"_a.noconvert(),
             "x_low"_a.noconvert(), "x_weight"_a.noconvert(), "class_map"_a.noconvert(), "counts"_a.noconvert(),
             "image"_a.noconvert().none() = nb::none(), "table"_a.noconvert().none() = nb::none(),
             "overlay"_a.noconvert().none() = nb::none(),
             "Fill class_map (H, W) uint8 with the arg-max of scores (C, h, w) float32, sampled bilinearly, then\n"
             "draw it.\n\n"
             "y_low (H,) and x_low (W,) int32: lower cell of each pixel; y_weight and x_weight float32: share of\n"
             "the next cell. The rest as in `draw`. Gives the bits of transforms.reference_class_map.")
        .def("resize", &resize, "image"_a.noconvert(), "y_low"_a.noconvert(), "y_weights"_a.noconvert(),
             "x_low"_a.noconvert(), "x_weights"_a.noconvert(), "out"_a.noconvert(), "top"_a, "left"_a,
             "border"_a.noconvert(),
             "Fill out (h, w, 3) uint8 with image (H, W, 3) uint8 resized, its first pixel at (top, left), and with\n"
             "border (3,) uint8 around it. Rows of image may lie apart, so a part of a frame is taken as it is.\n\n"
             "y_low and x_low (n,) int32: lower source pixel of each pixel, rising from -1, which stands for the first;\n"
             "y_weights and x_weights (n, 2) int32: 2048ths of it and of the next one. Gives the bits of OpenCV's INTER_LINEAR.")
        .def("draw", &draw, "class_map"_a.noconvert(), "counts"_a.noconvert(),
             "image"_a.noconvert().none() = nb::none(), "table"_a.noconvert().none() = nb::none(),
             "overlay"_a.noconvert().none() = nb::none(),
             "Count class_map's pixels into counts (256,) int64 and, where image (H, W, 3) uint8 is given, blend\n"
             "it with table (256, 4) uint16 (weight, then bias of B, G, R) into overlay (H, W, 3) uint8.\n\n"
             "Gives the bits of transforms.reference_overlay. All arrays are C-contiguous. Raises ValueError for\n"
             "shapes or cells that do not fit, TypeError for another type or layout.");
    module.def("confusion", &confusion, "labels"_a.noconvert(), "predicted"_a.noconvert(), "out"_a.noconvert(),
               "Fill out (256, 256) int64 with how often each label meets each prediction, both (N,) uint8.");
}
