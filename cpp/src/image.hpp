// Decoded pixels in the modes that files have, and a file whose header is read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bytes.hpp"

namespace ghostclas {

// Pillow's modes. `grey16` is uint16, `grey32` int32, `real` float32, all in the machine's order.
enum class Mode { bit, grey, grey_alpha, grey_premultiplied, palette, palette_alpha, rgb, rgba, cmyk, ycbcr, lab,
                  grey16, grey32, real };

// The bytes of one pixel in a row of Pixels.
int pixel_bytes(Mode mode);

using Palette = std::array<std::uint8_t, 256 * 4>;  // red, green, blue, alpha

// A colour that is transparent: one grey value, one palette index, three values, or an alpha for each index.
using Transparency = std::variant<std::monostate, int, std::array<int, 3>, std::vector<std::uint8_t>>;

// Memory that is zeroed by the system, not byte by byte.
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(std::size_t size);
    std::uint8_t* data() { return data_.get(); }
    const std::uint8_t* data() const { return data_.get(); }

  private:
    struct Free {
        void operator()(std::uint8_t* data) const;
    };
    std::unique_ptr<std::uint8_t, Free> data_;
};

struct Pixels {
    Pixels() = default;
    Pixels(Mode mode_, int width_, int height_);

    std::uint8_t* row(int y) { return bytes.data() + static_cast<std::size_t>(y) * stride; }
    const std::uint8_t* row(int y) const { return bytes.data() + static_cast<std::size_t>(y) * stride; }

    Mode mode = Mode::rgb;
    int width = 0;
    int height = 0;
    std::size_t stride = 0;  // bytes of a row
    Buffer bytes;
    Palette palette{};
    Transparency transparency;
};

// A file whose header is read and whose pixels are not decoded yet.
class OpenImage {
  public:
    OpenImage() = default;
    OpenImage(const OpenImage&) = delete;
    OpenImage& operator=(const OpenImage&) = delete;
    virtual ~OpenImage() = default;

    // Decodes at a smaller scale, if the format can: at least `kept` pixels on the short side remain.
    virtual void draft(int kept) { static_cast<void>(kept); }
    virtual Pixels load() = 0;

    Mode mode = Mode::rgb;
    std::uint32_t width = 0;   // at which it will be decoded
    std::uint32_t height = 0;
    bool transparent = false;  // Pillow's has_transparency_data
    bool lacks_palette = false;  // the mode needs a palette, and the file has none
    bool run_lengths = false;  // Pillow decodes it in Python
    std::uint64_t lzma_bits = 0;           // of a pixel of a TIFF with LZMA, which is slow
    std::uint64_t unpacked_at_a_time = 0;  // bytes, beside the pixels
    std::vector<std::uint8_t> exif;        // a TIFF block
};

// Makes 8-bit RGB of any mode, over white. `name` is for messages. Throws Error or Damaged.
Pixels to_rgb(const std::string& name, Pixels image);

// Turns the image upright as an EXIF orientation says; others than 2 to 8 change nothing.
Pixels upright(Pixels image, int orientation);

}  // namespace ghostclas
