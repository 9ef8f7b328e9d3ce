#include "scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "ghostclas/error.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

[[noreturn]] void refuse(const char* what, std::size_t image, std::size_t images) {
    throw Error(Kind::error, "not_finite",
                std::string("the ") + what + " of image " + std::to_string(image) + " in a batch of " +
                    std::to_string(images) +
                    " are not finite: the model overflowed or is damaged; use its fp32 file, or verify the bundle");
}

// Adds in float32 as numpy does along a contiguous axis: eight running sums for a block, halves for more.
float sum_of(const float* values, std::size_t count) {
    if (count < 8) {
        float sum = 0.0F;
        for (std::size_t i = 0; i < count; ++i) sum += values[i];
        return sum;
    }
    if (count <= 128) {
        float part[8];
        std::copy(values, values + 8, part);
        std::size_t i = 8;
        for (; i + 8 <= count; i += 8) {
            for (std::size_t j = 0; j < 8; ++j) part[j] += values[i + j];
        }
        float sum = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
        for (; i < count; ++i) sum += values[i];
        return sum;
    }
    std::size_t half = count / 2;
    half -= half % 8;
    return sum_of(values, half) + sum_of(values + half, count - half);
}

}  // namespace

std::vector<float> softmax(const float* logits, std::size_t images, std::size_t classes, double temperature) {
    if (!(temperature > 0 && temperature < std::numeric_limits<double>::infinity())) {
        throw Error(Kind::usage, "usage", "temperature must be a positive number, got " + number(temperature));
    }
    std::vector<float> scores(images * classes);
    const float divisor = static_cast<float>(temperature);
    // Python looks at all images before it computes any.
    for (std::size_t image = 0; image < images; ++image) {
        const float* row = logits + image * classes;
        const bool broken = std::any_of(row, row + classes, [](float value) { return std::isnan(value); });
        if (classes == 0 || broken || !std::isfinite(*std::max_element(row, row + classes))) {
            refuse("logits", image, images);
        }
    }
    for (std::size_t image = 0; image < images; ++image) {
        const float* row = logits + image * classes;
        float* score = scores.data() + image * classes;
        const float top = *std::max_element(row, row + classes);
        for (std::size_t i = 0; i < classes; ++i) score[i] = std::exp((row[i] - top) / divisor);
        const float sum = sum_of(score, classes);
        for (std::size_t i = 0; i < classes; ++i) score[i] /= sum;
    }
    return scores;
}

std::vector<std::int64_t> top_k(const float* scores, std::size_t images, std::size_t classes, std::int64_t k) {
    if (k < 1) throw Error(Kind::usage, "usage", "top must be at least 1, got " + std::to_string(k));
    const std::size_t kept = std::min(classes, static_cast<std::size_t>(k));
    std::vector<std::int64_t> best;
    best.reserve(images * kept);
    std::vector<std::int64_t> order(classes);
    for (std::size_t image = 0; image < images; ++image) {
        const float* row = scores + image * classes;
        if (std::any_of(row, row + classes, [](float score) { return std::isnan(score); })) {
            refuse("scores", image, images);
        }
        std::iota(order.begin(), order.end(), 0);
        const auto middle = order.begin() + static_cast<std::ptrdiff_t>(kept);
        std::partial_sort(order.begin(), middle, order.end(), [row](std::int64_t a, std::int64_t b) {
            return row[a] > row[b] || (row[a] == row[b] && a < b);
        });
        best.insert(best.end(), order.begin(), middle);
    }
    return best;
}

}  // namespace ghostclas
