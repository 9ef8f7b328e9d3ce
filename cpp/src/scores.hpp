// From logits to ranked scores, as Python's imaging.softmax and imaging.top_k.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ghostclas {

// exp(logits / temperature) scaled to sum to 1 for each image, in float32. `logits` is [images, classes].
// Throws Error of Kind::error for NaN, +inf or nothing but -inf; of Kind::usage for a temperature that is not positive.
std::vector<float> softmax(const float* logits, std::size_t images, std::size_t classes, double temperature);

// The indices of the k largest scores of each image, best first; equal scores keep the order of their indices.
// Returns [images, min(k, classes)]. Throws Error of Kind::error for NaN, of Kind::usage for k below 1.
std::vector<std::int64_t> top_k(const float* scores, std::size_t images, std::size_t classes, std::int64_t k);

}  // namespace ghostclas
