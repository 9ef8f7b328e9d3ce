// A build without libtiff: the file says so.
#include "formats.hpp"

namespace ghostclas {

std::unique_ptr<OpenImage> open_tiff(Bytes) { throw Damaged("this build has no support for TIFF"); }

}  // namespace ghostclas
