// The EXIF orientation, from a TIFF block.
#pragma once

#include "bytes.hpp"

namespace ghostclas {

// 1 to 8; 1 if the block has none that can be read. Other numbers come back as they are and turn nothing.
int orientation(Bytes exif);

}  // namespace ghostclas
