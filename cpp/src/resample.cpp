#include "resample.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace ghostclas {
namespace {

// ------------------------------------------------------------------ antialiased: two passes in fixed point

constexpr int kBits = 32 - 8 - 2;
constexpr std::int32_t kHalf = 1 << (kBits - 1);
constexpr double kPi = 3.14159265358979323846;
constexpr std::int64_t kNarrowBytes = std::int64_t{1} << 25;
constexpr int kPillowPixel = 4;

double bilinear(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

double sinc(double x) {
    if (x == 0.0) return 1.0;
    x *= kPi;
    return std::sin(x) / x;
}

double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct Filter {
    double (*weight)(double);
    double support;
};

Filter filter_of(Interpolation interpolation) {
    switch (interpolation) {
        case Interpolation::bicubic:
            return {bicubic, 2.0};
        case Interpolation::lanczos:
            return {lanczos, 3.0};
        default:
            return {bilinear, 1.0};
    }
}

// For some pixels of the result: the first source pixel of each, how many there are, and their weights.
struct Weights {
    int most = 0;
    std::vector<int> first;
    std::vector<int> count;
    std::vector<std::int32_t> fixed;

    // The source pixels that any of them reads: the first, and the one behind the last.
    std::pair<int, int> read() const {
        int begin = first.front();
        int end = begin;
        for (std::size_t i = 0; i < first.size(); ++i) {
            begin = std::min(begin, first[i]);
            end = std::max(end, first[i] + count[i]);
        }
        return {begin, end};
    }

    const std::int32_t* of(int pixel) const { return fixed.data() + static_cast<std::size_t>(pixel) * static_cast<std::size_t>(most); }
};

// `wanted` pixels from `begin` on, of a result of `result` pixels.
Weights weights_for(int source, float from, float to, int result, const Filter& filter, int begin, int wanted) {
    const double scale = static_cast<double>(to - from) / result;
    const double widened = std::max(scale, 1.0);
    const double support = filter.support * widened;
    const double inverse = 1.0 / widened;
    Weights weights;
    weights.most = static_cast<int>(std::ceil(support)) * 2 + 1;
    weights.first.resize(static_cast<std::size_t>(wanted));
    weights.count.resize(static_cast<std::size_t>(wanted));
    weights.fixed.resize(static_cast<std::size_t>(wanted) * static_cast<std::size_t>(weights.most));
    std::vector<double> exact(static_cast<std::size_t>(weights.most));
    for (int pixel = 0; pixel < wanted; ++pixel) {
        const double centre = static_cast<double>(from) + (begin + pixel + 0.5) * scale;
        const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
        const int count = std::min(static_cast<int>(centre + support + 0.5), source) - first;
        double sum = 0.0;
        for (int i = 0; i < count; ++i) {
            const double weight = filter.weight((i + first - centre + 0.5) * inverse);
            exact[static_cast<std::size_t>(i)] = weight;
            sum += weight;
        }
        std::int32_t* fixed = weights.fixed.data() + static_cast<std::size_t>(pixel) * static_cast<std::size_t>(weights.most);
        for (int i = 0; i < count; ++i) {
            double weight = exact[static_cast<std::size_t>(i)];
            if (sum != 0.0) weight /= sum;
            const double scaled = weight * (1 << kBits);
            fixed[i] = static_cast<std::int32_t>(weight < 0 ? -0.5 + scaled : 0.5 + scaled);
        }
        // What adds nothing is left out: without scaling, one weight of 1 remains.
        int begin_at = 0;
        int end_at = count;
        while (end_at > 1 && fixed[end_at - 1] == 0) --end_at;
        while (begin_at + 1 < end_at && fixed[begin_at] == 0) ++begin_at;
        std::copy(fixed + begin_at, fixed + end_at, fixed);
        weights.first[static_cast<std::size_t>(pixel)] = first + begin_at;
        weights.count[static_cast<std::size_t>(pixel)] = end_at - begin_at;
    }
    return weights;
}

bool is_copy(const std::int32_t* weight, int count) { return count == 1 && weight[0] == 1 << kBits; }

std::uint8_t clipped(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

// Whether the pixels are those of the source, one after the other.
bool is_cut(const Weights& weights) {
    for (std::size_t i = 0; i < weights.first.size(); ++i) {
        const auto pixel = static_cast<int>(i);
        if (weights.first[i] != weights.first[0] + pixel || !is_copy(weights.of(pixel), weights.count[i])) return false;
    }
    return true;
}

void horizontal(const std::uint8_t* row, const Weights& weights, int side, std::uint8_t* out) {
    for (int x = 0; x < side; ++x, out += 3) {
        const std::int32_t* weight = weights.of(x);
        const int count = weights.count[static_cast<std::size_t>(x)];
        const std::uint8_t* in = row + static_cast<std::size_t>(weights.first[static_cast<std::size_t>(x)]) * 3;
        if (is_copy(weight, count)) {
            std::memcpy(out, in, 3);
            continue;
        }
        std::int32_t red = kHalf;
        std::int32_t green = kHalf;
        std::int32_t blue = kHalf;
        for (int i = 0; i < count; ++i, in += 3) {
            red += in[0] * weight[i];
            green += in[1] * weight[i];
            blue += in[2] * weight[i];
        }
        out[0] = clipped(red);
        out[1] = clipped(green);
        out[2] = clipped(blue);
    }
}

void add_row(std::int32_t* sums, const std::uint8_t* row, std::int32_t weight, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) sums[i] += row[i] * weight;
}

// The first row and the one behind the last that the vertical pass is given: Python leaves out the others where
// they are much, which moves the rounding of coordinates.
std::pair<int, int> rows_read(int height, double top, double bottom, int side, const Filter& filter) {
    if (std::int64_t{height} * side * kPillowPixel <= kNarrowBytes) return {0, height};
    const double scale = std::max((bottom - top) / side, 1.0);
    const int margin = static_cast<int>(std::ceil(filter.support * scale)) + 1;
    return {std::max(static_cast<int>(std::floor(top)) - margin, 0),
            std::min(static_cast<int>(std::ceil(bottom)) + margin, height)};
}

// ------------------------------------------------------------------ without antialiasing

int floor_of(double value) { return static_cast<int>(std::floor(value)); }

struct Sampler {
    const Source& source;

    int column(int x) const { return std::clamp(x, 0, source.width - 1) * 3; }
    const std::uint8_t* row(int y) const { return source.row(std::clamp(y, 0, source.height - 1)); }
    bool has_row(int y) const { return y >= 0 && y < source.height; }
};

void put_bilinear(const Sampler& sampler, double x, double y, std::uint8_t* out) {
    const int left = floor_of(x);
    const int top = floor_of(y);
    const double right_part = x - left;
    const double lower_part = y - top;
    const int columns[] = {sampler.column(left), sampler.column(left + 1)};
    const std::uint8_t* upper = sampler.row(top);
    const std::uint8_t* lower = sampler.has_row(top + 1) ? sampler.row(top + 1) : nullptr;
    for (int band = 0; band < 3; ++band) {
        const auto across = [&](const std::uint8_t* row) {
            const int a = row[columns[0] + band];
            const int b = row[columns[1] + band];
            return a + (b - a) * right_part;
        };
        const double first = across(upper);
        const double second = lower != nullptr ? across(lower) : first;
        out[band] = static_cast<std::uint8_t>(first + (second - first) * lower_part);
    }
}

double cubic(double a, double b, double c, double d, double part) {
    const double p2 = -a + c;
    const double p3 = 2 * (a - b) + c - d;
    const double p4 = -a + b - c + d;
    return b + part * (p2 + part * (p3 + part * p4));
}

void put_bicubic(const Sampler& sampler, double x, double y, std::uint8_t* out) {
    const int left = floor_of(x);
    const int top = floor_of(y);
    const double right_part = x - left;
    const double lower_part = y - top;
    int columns[4];
    for (int i = 0; i < 4; ++i) columns[i] = sampler.column(left - 1 + i);
    for (int band = 0; band < 3; ++band) {
        double values[4];
        for (int i = 0; i < 4; ++i) {
            if (i > 0 && !sampler.has_row(top - 1 + i)) {
                values[i] = values[i - 1];
                continue;
            }
            const std::uint8_t* row = sampler.row(top - 1 + i) + band;
            values[i] = cubic(row[columns[0]], row[columns[1]], row[columns[2]], row[columns[3]], right_part);
        }
        const double value = cubic(values[0], values[1], values[2], values[3], lower_part);
        out[band] = value <= 0.0 ? std::uint8_t{0} : value >= 255.0 ? std::uint8_t{255} : static_cast<std::uint8_t>(value);
    }
}

}  // namespace

Box crop_box(int width, int height, const PreprocessSpec& spec) {
    const std::int64_t scaled = spec.short_side;
    const std::int64_t crop = spec.crop;
    const std::int64_t w = width;
    const std::int64_t h = height;
    const std::int64_t shorter = std::min(w, h);
    const auto edge = [&](std::int64_t side) {
        const std::int64_t above = side * scaled - crop * shorter;  // never negative: the crop fits
        return static_cast<double>(above / (2 * shorter) * shorter) / static_cast<double>(scaled);
    };
    const double side = static_cast<double>(crop * shorter) / static_cast<double>(scaled);
    Box box;
    box.left = edge(w);
    box.top = edge(h);
    box.right = std::min(box.left + side, static_cast<double>(w));
    box.bottom = std::min(box.top + side, static_cast<double>(h));
    return box;
}

namespace {

// Both passes, for side x side pixels; `skipped` rows of the source come before those that `down` counts.
void two_passes(const Source& source, const Weights& across, const Weights& down, int skipped, int side,
                std::uint8_t* out) {
    // Only the rows that the vertical pass reads are made.
    const auto [begin, end] = down.read();
    const std::size_t size = static_cast<std::size_t>(side) * 3;
    std::vector<std::uint8_t> narrow(size * static_cast<std::size_t>(std::max(end - begin, 0)));
    const bool is_narrow = is_cut(across);
    for (int y = begin; y < end; ++y) {
        std::uint8_t* to = narrow.data() + size * static_cast<std::size_t>(y - begin);
        if (is_narrow) {
            std::memcpy(to, source.row(skipped + y) + static_cast<std::size_t>(across.first[0]) * 3, size);
        } else {
            horizontal(source.row(skipped + y), across, side, to);
        }
    }
    std::vector<std::int32_t> sums(size);
    for (int y = 0; y < side; ++y) {
        const std::int32_t* weight = down.of(y);
        const int first = down.first[static_cast<std::size_t>(y)];
        const int count = down.count[static_cast<std::size_t>(y)];
        const std::uint8_t* row = narrow.data() + size * static_cast<std::size_t>(first - begin);
        std::uint8_t* to = out + size * static_cast<std::size_t>(y);
        if (is_copy(weight, count)) {
            std::memcpy(to, row, size);
            continue;
        }
        std::fill(sums.begin(), sums.end(), kHalf);
        for (int i = 0; i < count; ++i, row += size) add_row(sums.data(), row, weight[i], size);
        for (std::size_t i = 0; i < size; ++i) to[i] = clipped(sums[i]);
    }
}

}  // namespace

void resize_antialiased(const Source& source, const Box& box, Interpolation interpolation, int side, std::uint8_t* out) {
    const Filter filter = filter_of(interpolation);
    const auto [first, last] = rows_read(source.height, box.top, box.bottom, side, filter);
    const Weights across = weights_for(source.width, static_cast<float>(box.left), static_cast<float>(box.right), side,
                                       filter, 0, side);
    const float top = static_cast<float>(static_cast<double>(static_cast<float>(box.top)) - first);
    const float bottom = static_cast<float>(static_cast<double>(static_cast<float>(box.bottom)) - first);
    const Weights down = weights_for(last - first, top, bottom, side, filter, 0, side);
    two_passes(source, across, down, first, side, out);
}

Cut whole_cut(int width, int height, const PreprocessSpec& spec) {
    Cut cut{spec.width, spec.height, 0, 0};
    if (spec.width == 0) {
        const double scale = static_cast<double>(spec.short_side) / std::min(width, height);
        cut.width = static_cast<std::int64_t>(std::nearbyint(width * scale));
        cut.height = static_cast<std::int64_t>(std::nearbyint(height * scale));
    }
    cut.left = (cut.width - spec.crop) / 2;
    cut.top = (cut.height - spec.crop) / 2;
    return cut;
}

namespace {

// One row of the vertical pass: `size` bytes from `column` on.
void vertical(const Source& source, const Weights& down, int y, std::size_t column, std::size_t size,
              std::vector<std::int32_t>& sums, std::uint8_t* out) {
    sums.assign(size, kHalf);
    const std::int32_t* weight = down.of(y);
    const int first = down.first[static_cast<std::size_t>(y)];
    for (int i = 0; i < down.count[static_cast<std::size_t>(y)]; ++i) {
        add_row(sums.data(), source.row(first + i) + column, weight[i], size);
    }
    for (std::size_t i = 0; i < size; ++i) out[i] = clipped(sums[i]);
}

// Pillow 13 begins with the axis that leaves less to do. It does not say by which measure; this one agrees with it
// in every case that was tried.
bool begins_vertically(const Source& source, const Cut& cut) {
    return cut.height < source.height && source.height - cut.height > 2 * (source.width - cut.width);
}

}  // namespace

void resize_whole(const Source& source, const Cut& cut, Interpolation interpolation, int side, std::uint8_t* out) {
    const Filter filter = filter_of(interpolation);
    const auto weights = [&](int pixels, std::int64_t result, std::int64_t begin) {
        return weights_for(pixels, 0, static_cast<float>(pixels), static_cast<int>(result), filter,
                           static_cast<int>(begin), side);
    };
    Weights across = weights(source.width, cut.width, cut.left);
    const Weights down = weights(source.height, cut.height, cut.top);
    if (!begins_vertically(source, cut)) {
        two_passes(source, across, down, 0, side, out);
        return;
    }
    // Only the columns that the horizontal pass reads are made.
    const auto [begin, end] = across.read();
    for (int& first : across.first) first -= begin;
    std::vector<std::int32_t> sums;
    std::vector<std::uint8_t> row(static_cast<std::size_t>(end - begin) * 3);
    for (int y = 0; y < side; ++y) {
        vertical(source, down, y, static_cast<std::size_t>(begin) * 3, row.size(), sums, row.data());
        horizontal(row.data(), across, side, out + static_cast<std::size_t>(y) * static_cast<std::size_t>(side) * 3);
    }
}

namespace {

// Between which two pixels a place of the result lies, and their weights in 11 bits.
struct Pair {
    int first;
    int second;
    std::int32_t near;
    std::int32_t far;
};

std::vector<Pair> opencv_pairs(int source, std::int64_t target, std::int64_t begin, int count, bool keep_edge) {
    const double scale = static_cast<double>(source) / static_cast<double>(target);
    std::vector<Pair> pairs;
    pairs.reserve(static_cast<std::size_t>(count));
    for (std::int64_t pixel = begin; pixel < begin + count; ++pixel) {
        const float place = static_cast<float>((static_cast<double>(pixel) + 0.5) * scale - 0.5);
        const float before = std::floor(place);
        float share = place - before;
        const int at = static_cast<int>(before);
        // Where a neighbour is missing, the pixel at the edge has all the weight.
        if (keep_edge && (at < 0 || at >= source - 1)) share = 0.0F;
        pairs.push_back({std::clamp(at, 0, source - 1), std::clamp(at + 1, 0, source - 1),
                         static_cast<std::int32_t>(std::nearbyint((1.0F - share) * 2048.0F)),
                         static_cast<std::int32_t>(std::nearbyint(share * 2048.0F))});
    }
    return pairs;
}

}  // namespace

void resize_opencv(const Source& source, const Cut& cut, int side, std::uint8_t* out) {
    const std::size_t size = static_cast<std::size_t>(side) * 3;
    if (source.width == cut.width && source.height == cut.height) {
        for (int y = 0; y < side; ++y, out += size) {
            std::memcpy(out, source.row(static_cast<int>(cut.top) + y) + static_cast<std::size_t>(cut.left) * 3, size);
        }
        return;
    }
    if (source.width == 2 * cut.width && source.height == 2 * cut.height) {
        for (int y = 0; y < side; ++y) {
            const int row = 2 * (static_cast<int>(cut.top) + y);
            const std::uint8_t* upper = source.row(row) + static_cast<std::size_t>(cut.left) * 6;
            const std::uint8_t* lower = source.row(row + 1) + static_cast<std::size_t>(cut.left) * 6;
            for (std::size_t i = 0; i < size; ++i) {
                const std::size_t at = i / 3 * 6 + i % 3;
                *out++ = static_cast<std::uint8_t>((upper[at] + upper[at + 3] + lower[at] + lower[at + 3] + 2) >> 2);
            }
        }
        return;
    }
    const std::vector<Pair> columns = opencv_pairs(source.width, cut.width, cut.left, side, true);
    for (const Pair& rows : opencv_pairs(source.height, cut.height, cut.top, side, false)) {
        const std::uint8_t* upper = source.row(rows.first);
        const std::uint8_t* lower = source.row(rows.second);
        for (const Pair& pair : columns) {
            for (int band = 0; band < 3; ++band) {
                const int first = pair.first * 3 + band;
                const int second = pair.second * 3 + band;
                const std::int32_t above = (upper[first] * pair.near + upper[second] * pair.far) >> 4;
                const std::int32_t below = (lower[first] * pair.near + lower[second] * pair.far) >> 4;
                const std::int32_t sum = ((above * rows.near) >> 16) + ((below * rows.far) >> 16) + 2;
                *out++ = static_cast<std::uint8_t>(sum >> 2);
            }
        }
    }
}

void resize_nearest(const Source& source, const Box& box, int side, std::uint8_t* out) {
    const float corners[] = {static_cast<float>(box.left), static_cast<float>(box.top), static_cast<float>(box.right),
                             static_cast<float>(box.bottom)};
    const double step_x = static_cast<double>(corners[2] - corners[0]) / side;
    const double step_y = static_cast<double>(corners[3] - corners[1]) / side;
    // Positions are added up, as Pillow does: a product would round otherwise.
    std::vector<int> columns(static_cast<std::size_t>(side), -1);
    double x = static_cast<double>(corners[0]) + step_x * 0.5;
    for (int& column : columns) {
        if (x >= 0 && static_cast<int>(x) < source.width) column = static_cast<int>(x);
        x += step_x;
    }
    double y = static_cast<double>(corners[1]) + step_y * 0.5;
    for (int row = 0; row < side; ++row, y += step_y) {
        const bool inside = y >= 0 && static_cast<int>(y) < source.height;
        const std::uint8_t* in = inside ? source.row(static_cast<int>(y)) : nullptr;
        for (const int column : columns) {
            if (in == nullptr || column < 0) {
                std::memset(out, 0, 3);
            } else {
                std::memcpy(out, in + static_cast<std::size_t>(column) * 3, 3);
            }
            out += 3;
        }
    }
}

void resize_plain(const Source& source, const Box& box, Interpolation interpolation, int side, std::uint8_t* out) {
    const Sampler sampler{source};
    const double step_x = (box.right - box.left) / side;
    const double step_y = (box.bottom - box.top) / side;
    for (int row = 0; row < side; ++row) {
        // The products of zero keep Pillow's order of operations.
        for (int column = 0; column < side; ++column, out += 3) {
            const double x = step_x * (column + 0.5) + box.left;
            const double y = step_y * (row + 0.5) + box.top;
            if (x < 0.0 || x >= source.width || y < 0.0 || y >= source.height) {
                std::memset(out, 0, 3);
            } else if (interpolation == Interpolation::bicubic) {
                put_bicubic(sampler, x - 0.5, y - 0.5, out);
            } else {
                put_bilinear(sampler, x - 0.5, y - 0.5, out);
            }
        }
    }
}

}  // namespace ghostclas
