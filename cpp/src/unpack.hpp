// How formats pack the pixels of a row, by Pillow's names for it ("L;4", "BGRX", "RGB;16B", ...).
#pragma once

#include <cstdint>
#include <string_view>

#include "image.hpp"

namespace ghostclas {

struct Packing {
    std::string_view name;
    Mode mode;  // of the unpacked pixels
    int bits;   // of a packed pixel
    void (*unpack)(std::uint8_t* out, const std::uint8_t* in, int pixels);

    std::size_t row_bytes(std::uint64_t width) const {
        return static_cast<std::size_t>((width * static_cast<unsigned>(bits) + 7) / 8);
    }
};

// Throws Damaged if there is no such packing for the mode.
const Packing& packing(std::string_view name, Mode mode);

// Uncompressed rows, `stride` bytes apart (0: without padding), the last one first if `upwards`. Throws Damaged.
void unpack_rows(Pixels& image, const Packing& packing, Bytes data, std::uint64_t stride, bool upwards);

// How Pillow says that a file ended while its decoder wanted more.
[[noreturn]] void refuse_end(std::uint64_t left);

}  // namespace ghostclas
