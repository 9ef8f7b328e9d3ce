// From an encoded photo to the pixels that a network sees, bit-equal to Python's imaging.py, whose docstring
// defines every step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "memory_budget.hpp"

namespace ghostclas {

enum class Interpolation { nearest, bilinear, bicubic, lanczos };

// Whose arithmetic scales to a whole size before the crop is cut, as PaddleClas does; none: one resampling of a box.
enum class ResizeLibrary { none, opencv, pillow };

// The manifest's `preprocess`, checked by the manifest's reader: 1 <= short_side <= 8192, 32 <= crop <= short_side.
struct PreprocessSpec {
    int short_side = 256;
    Interpolation interpolation = Interpolation::bilinear;
    bool antialias = true;
    ResizeLibrary library = ResizeLibrary::none;
    int width = 0;  // to which a library stretches; 0: the short side becomes short_side
    int height = 0;
    int crop = 224;
    bool exif = true;
};

// Decodes, scales and crops one image.
//
// `name` is how messages call the image. `out` takes crop x crop x 3 bytes, RGB in rows; an error leaves it
// unchanged. May be called from many threads at once; those that share a `budget` wait for each other before
// images that take much of it.
//
// Throws Error of Kind::data with Python's code (empty, not_an_image, truncated, too_large, unsupported), or of
// Kind::usage for lanczos without antialiasing.
void preprocess(std::string_view name, const std::uint8_t* data, std::size_t size, const PreprocessSpec& spec,
                std::uint8_t* out, MemoryBudget* budget = nullptr);

// The same for pixels that are decoded already: uint8 RGB in rows of 3 * width bytes.
void preprocess_rgb(const std::uint8_t* rgb, int width, int height, const PreprocessSpec& spec, std::uint8_t* out);

}  // namespace ghostclas
