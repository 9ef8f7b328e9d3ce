// Pillow's resize and transform of 8-bit RGB, bit for bit.
#pragma once

#include <cstdint>

#include "pixels.hpp"

namespace ghostclas {

struct Box {
    double left = 0;
    double top = 0;
    double right = 0;
    double bottom = 0;
};

struct Source {
    const std::uint8_t* rgb = nullptr;  // rows of 3 * width bytes
    int width = 0;
    int height = 0;

    const std::uint8_t* row(int y) const { return rgb + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3; }
};

// The part of a width x height source that the network sees: the docstring of imaging.py.
Box crop_box(int width, int height, const PreprocessSpec& spec);

// Scales the box of the source to side x side pixels of `out`, rows of 3 * side bytes.
void resize_antialiased(const Source& source, const Box& box, Interpolation interpolation, int side, std::uint8_t* out);
void resize_nearest(const Source& source, const Box& box, int side, std::uint8_t* out);
// Bilinear or bicubic between the nearest 2 x 2 or 4 x 4 pixels.
void resize_plain(const Source& source, const Box& box, Interpolation interpolation, int side, std::uint8_t* out);


// Pixels of an image that is scaled to width x height, from (left, top) on. A line of ten million pixels can become
// longer than an int says.
struct Cut {
    std::int64_t width = 0;
    std::int64_t height = 0;
    std::int64_t left = 0;
    std::int64_t top = 0;
};

// The cut that a library makes: see "Whole sizes" in the docstring of imaging.py.
Cut whole_cut(int width, int height, const PreprocessSpec& spec);

// One call of Pillow's resize, and side x side pixels of its result, which has at most kMaxPixels.
void resize_whole(const Source& source, const Cut& cut, Interpolation interpolation, int side, std::uint8_t* out);
// OpenCV's resize with INTER_LINEAR.
void resize_opencv(const Source& source, const Cut& cut, int side, std::uint8_t* out);

}  // namespace ghostclas
