// PBM, PGM and PPM files as binary ones of 1, 8 or 16 bits: image_formats/netpbm.py.
#pragma once

#include <cstdint>
#include <vector>

#include "bytes.hpp"

namespace ghostclas {

// A file of the same pixels with a short header: the given one, or what is in `converted`. A bad header comes
// back alone. Throws Damaged for text that holds what is no sample.
Bytes to_binary(Bytes data, std::vector<std::uint8_t>& converted);

}  // namespace ghostclas
