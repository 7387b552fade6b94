// Frame to input and scores to overlay, one pass each, split into bands of rows among threads; memory is reused
// between frames.
#pragma once

#include <array>
#include <mutex>
#include <vector>

#include "class_map.hpp"
#include "colour.hpp"
#include "resize.hpp"
#include "team.hpp"

// FCN_EDGE_CLONES (CMakeLists.txt): instruction sets; the best is selected when the module is loaded.
#if defined(FCN_EDGE_CLONES)
#define FCN_EDGE_MULTIVERSION __attribute__((target_clones(FCN_EDGE_CLONES)))
#else
#define FCN_EDGE_MULTIVERSION
#endif

namespace fcn_edge {

// Per thread.
struct Scratch {
    std::vector<float> row;
    std::vector<std::int32_t> winner;
    std::vector<std::uint8_t> line;
    std::array<std::int64_t, 256> counts;
};

// Arrays to draw: class_map (H, W); image and overlay (H, W, 3), or both null.
struct Canvas {
    std::uint8_t* class_map;
    const std::uint8_t* image;
    std::uint8_t* overlay;
    int height, width;

    const std::uint8_t* image_row(int y) const { return image == nullptr ? nullptr : image + offset(y) * channels; }
    std::uint8_t* overlay_row(int y) const { return overlay == nullptr ? nullptr : overlay + offset(y) * channels; }
    std::uint8_t* class_row(int y) const { return class_map + offset(y); }
    std::size_t offset(int y) const { return static_cast<std::size_t>(y) * width; }
};

FCN_EDGE_MULTIVERSION
bool all_tame(const float* scores, std::size_t count) {
    return is_tame(scores, count);
}

FCN_EDGE_MULTIVERSION
void draw_scores(const Scores& scores, const Taps& y, const std::vector<Run>& runs, const float* x_weight, bool tame,
                 const Canvas& canvas, const Ink* ink, int first, int last, Scratch& own) {
    for (int pixel = first; pixel < last; ++pixel) {
        row_from_scores(scores, y.low[pixel], y.weight[pixel], own.row.data(), own.winner.data());
        if (!tame) std::fill(own.winner.begin(), own.winner.end(), unsure);
        line_from_row(own.row.data(), own.winner.data(), scores, runs, x_weight, own.line.data());
        std::copy_n(own.line.data(), canvas.width, canvas.class_row(pixel));
        colour_line(own.line.data(), canvas.width, canvas.image_row(pixel), ink, canvas.overlay_row(pixel),
                    own.counts.data());
    }
}

FCN_EDGE_MULTIVERSION
void draw_classes(const Canvas& canvas, const Ink* ink, int first, int last, Scratch& own) {
    for (int pixel = first; pixel < last; ++pixel)
        colour_line(canvas.class_row(pixel), canvas.width, canvas.image_row(pixel), ink, canvas.overlay_row(pixel),
                    own.counts.data());
}

FCN_EDGE_MULTIVERSION
void resize_rows(const Picture& image, const FixedTaps& y, const FixedTaps& x, const Wide& wide, const Letter& letter,
                 int first, int last, RowPair& own) {
    own.row[0] = own.row[1] = -2;  // of another frame
    for (int line = first; line < last; ++line) {
        std::uint8_t* out = letter.row(line);
        const int pixel = line - letter.top;
        if (pixel < 0 || pixel >= y.pixels) {
            fill_pixels(letter.border, letter.width, out);
            continue;
        }
        const std::int16_t* rows[2];
        for (int which : {0, 1}) {
            const int wanted = std::clamp(y.low[pixel] + which, 0, image.height - 1), place = wanted & 1;
            if (own.row[place] != wanted)
                resize_row(image.row(wanted), image.width, x, wide, own.values[place].data());
            own.row[place] = wanted, rows[which] = own.values[place].data();
        }
        const int right = letter.left + x.pixels;
        fill_pixels(letter.border, letter.left, out);
        mix_rows(rows[0], rows[1], y.weights[2 * pixel], y.weights[2 * pixel + 1], x.pixels * pixel_bytes,
                 out + letter.left * pixel_bytes);
        fill_pixels(letter.border, letter.width - right, out + right * pixel_bytes);
    }
}

class Workspace {
  public:
    explicit Workspace(int threads) : team_(threads), scratch_(threads), pairs_(threads), ink_(256) {}

    int threads() const { return team_.size(); }

    // Fills canvas.class_map from scores, then as `draw`.
    void view(const Scores& scores, const Taps& y, const Taps& x, const Canvas& canvas, const std::uint16_t* table,
              std::int64_t* counts) {
        const std::lock_guard<std::mutex> lock(mutex_);
        runs_from_taps(x, scores.width, runs_);
        x_weight_.assign(x.weight, x.weight + x.pixels);
        x_weight_.resize(x.pixels + lanes);
        for (Scratch& own : scratch_) {
            own.row.resize(static_cast<std::size_t>(scores.classes) * scores.width);
            own.winner.resize(scores.width);
            own.line.resize(x.pixels + lanes);
        }
        const std::size_t cells = static_cast<std::size_t>(scores.height) * scores.width;
        const bool tame = all_tame(scores.data, cells * scores.classes);
        draw_bands(canvas, table, counts, [&](int first, int last, Scratch& own) {
            draw_scores(scores, y, runs_, x_weight_.data(), tame, canvas, ink_.data(), first, last, own);
        });
    }

    // Fills canvas.overlay, if not null, from canvas.class_map; counts (256,): pixels of each class.
    void draw(const Canvas& canvas, const std::uint16_t* table, std::int64_t* counts) {
        const std::lock_guard<std::mutex> lock(mutex_);
        draw_bands(canvas, table, counts, [&](int first, int last, Scratch& own) {
            draw_classes(canvas, ink_.data(), first, last, own);
        });
    }

    // Fills all of letter.out from image.
    void resize(const Picture& image, const FixedTaps& y, const FixedTaps& x, const Letter& letter) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (RowPair& own : pairs_)
            for (auto& values : own.values) values.resize(static_cast<std::size_t>(x.pixels) * pixel_bytes + 1);
        const Wide wide = wide_pixels(x, image.width);
        team_.share((letter.height + band - 1) / band, [&](int part, int worker) {
            const int first = part * band;
            resize_rows(image, y, x, wide, letter, first, std::min(letter.height, first + band), pairs_[worker]);
        });
    }

  private:
    static constexpr int band = 16;  // rows per unit of work

    template <typename Draw>
    void draw_bands(const Canvas& canvas, const std::uint16_t* table, std::int64_t* counts, const Draw& draw) {
        if (table != nullptr) ink_from_table(table, 256, ink_.data());
        for (Scratch& own : scratch_) own.counts.fill(0);
        team_.share((canvas.height + band - 1) / band, [&](int part, int worker) {
            draw(part * band, std::min(canvas.height, (part + 1) * band), scratch_[worker]);
        });
        std::fill_n(counts, 256, 0);
        for (const Scratch& own : scratch_)
            for (int c = 0; c < 256; ++c) counts[c] += own.counts[c];
    }

    std::mutex mutex_;  // one frame at a time
    Team team_;
    std::vector<Scratch> scratch_;
    std::vector<RowPair> pairs_;
    std::vector<Run> runs_;
    std::vector<float> x_weight_;
    std::vector<Ink> ink_;
};

}  // namespace fcn_edge
