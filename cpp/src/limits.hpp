// What decoding an image takes, known before its pixels are decoded: image_limits.py.
#pragma once

#include <cstdint>
#include <string>

#include "identify.hpp"
#include "image.hpp"

namespace ghostclas {

// The largest width x height that is decoded.
constexpr std::uint64_t kMaxPixels = 200'000'000;

// Refuses a file that would be slow to open or to decode. Returns the bytes that its decoder keeps of the whole
// image beside the pixels. Throws Error too_large, or Damaged.
std::uint64_t check_file(const std::string& name, Format format, Bytes data);

// Refuses more pixels than are decoded. Throws Error too_large.
void check_size(const std::string& name, std::uint64_t width, std::uint64_t height, const Format* format);

// Refuses an image that takes more memory or work than a file of its size may; it has the size at which it will
// be decoded, `width` x `height` is the file's. Returns the memory that decoding takes at its peak, in bytes, with
// the file, as Python counts it. Throws Error too_large.
std::uint64_t check_image(const std::string& name, Format format, const OpenImage& image, Bytes data,
                          std::uint64_t width, std::uint64_t height, std::uint64_t buffers, bool turned);

}  // namespace ghostclas
