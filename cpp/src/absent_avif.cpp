// A build without libavif: the file says so.
#include "formats.hpp"

namespace ghostclas {

std::unique_ptr<OpenImage> open_avif(Bytes) { throw Damaged("this build has no support for AVIF"); }

}  // namespace ghostclas
