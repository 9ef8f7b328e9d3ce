// What the markers of a JPEG say about the work of decoding it: image_formats/jpeg.py.
#pragma once

#include <cstdint>

#include "bytes.hpp"

namespace ghostclas {

struct JpegWork {
    std::uint64_t kept_bytes = 0;
    std::uint64_t scans = 0;
    std::uint64_t scanned_blocks = 0;
};

// Throws Damaged.
JpegWork jpeg_work(Bytes data);

}  // namespace ghostclas
