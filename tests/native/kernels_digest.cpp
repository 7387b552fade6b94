// Prints a digest of what the kernels make of seeded random frames and scores; equal on every machine.

#include <cstdio>

#include "confusion.hpp"
#include "workspace.hpp"

using namespace fcn_edge;

namespace {

std::uint64_t state;

int random_below(int bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int>((state >> 33) % static_cast<unsigned>(bound));
}

std::vector<std::uint8_t> random_bytes(int count, int bound = 256) {
    std::vector<std::uint8_t> found(count);
    for (auto& value : found) value = static_cast<std::uint8_t>(random_below(bound));
    return found;
}

// Rising cells -1 or 0 .. cells - 1, and a share of the next one in 2048ths.
void random_taps(int pixels, int cells, std::vector<std::int32_t>& low, std::vector<std::int32_t>& share) {
    for (int i = 0; i < pixels; ++i) {
        low.push_back(static_cast<int>((2ll * i + 1) * cells / (2ll * pixels)) - (i == 0 && cells > 1));
        share.push_back(random_below(2049));
    }
}

template <typename T>
std::uint64_t digest(const std::vector<T>& values, std::uint64_t hash) {
    for (const T& value : values) hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211u;
    return hash;
}

std::uint64_t resized(Workspace& workspace) {
    const int rows = 1 + random_below(90), columns = 1 + random_below(90), height = 1 + random_below(70),
              width = 1 + random_below(70), top = random_below(5), left = random_below(5);
    const auto image = random_bytes(rows * columns * 3), border = random_bytes(3);
    std::vector<std::int32_t> y, y_share, x, x_share, y_weights, x_weights;
    random_taps(height, rows, y, y_share), random_taps(width, columns, x, x_share);
    for (const int share : y_share) y_weights.insert(y_weights.end(), {2048 - share, share});
    for (const int share : x_share) x_weights.insert(x_weights.end(), {2048 - share, share});
    std::vector<std::uint8_t> out((height + top + 2) * (width + left + 3) * 3);
    workspace.resize({image.data(), columns * 3, rows, columns}, {y.data(), y_weights.data(), height},
                     {x.data(), x_weights.data(), width},
                     {out.data(), height + top + 2, width + left + 3, top, left, border.data()});
    return digest(out, 14695981039346656037u);
}

std::uint64_t viewed(Workspace& workspace) {
    const int classes = 1 + random_below(24), rows = 1 + random_below(12), columns = 1 + random_below(40),
              height = 1 + random_below(60), width = 1 + random_below(120);
    std::vector<float> scores(classes * rows * columns);
    for (float& score : scores) score = static_cast<float>(random_below(64) - 32) / 7.0f;
    std::vector<std::int32_t> y, y_share, x, x_share;
    random_taps(height, rows, y, y_share), random_taps(width, columns, x, x_share);
    std::vector<float> y_weight, x_weight;
    for (const int share : y_share) y_weight.push_back(static_cast<float>(share) / 2048.0f);
    for (const int share : x_share) x_weight.push_back(static_cast<float>(share) / 2048.0f);
    y[0] = x[0] = 0;
    const auto image = random_bytes(height * width * 3);
    std::vector<std::uint16_t> table(256 * 4);
    for (int c = 0; c < 256; ++c) {
        const int weight = random_below(257);
        table[4 * c] = static_cast<std::uint16_t>(weight);
        for (int i = 1; i < 4; ++i) table[4 * c + i] = static_cast<std::uint16_t>((256 - weight) * random_below(256));
    }
    std::vector<std::uint8_t> map(height * width), overlay(height * width * 3);
    std::vector<std::int64_t> counts(256), pairs(256 * 256);
    workspace.view({scores.data(), classes, rows, columns}, {y.data(), y_weight.data(), height},
                   {x.data(), x_weight.data(), width}, {map.data(), image.data(), overlay.data(), height, width},
                   table.data(), counts.data());
    count_pairs(map.data(), image.data(), map.size(), pairs.data());
    return digest(pairs, digest(counts, digest(overlay, digest(map, 14695981039346656037u))));
}

}  // namespace

int main() {
    Workspace workspace(2);
    for (int seed = 0; seed < 300; ++seed) {
        state = 1000003u * (seed + 1);
        const auto input = resized(workspace), view = viewed(workspace);
        std::printf("%d %016llx %016llx\n", seed, static_cast<unsigned long long>(input),
                    static_cast<unsigned long long>(view));
    }
}
