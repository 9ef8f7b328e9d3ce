// One function a format: reads the header of a file. All throw Damaged for a file that they cannot read.
#pragma once

#include <memory>
#include <string>

#include "image.hpp"

namespace ghostclas {

std::unique_ptr<OpenImage> open_jpeg(Bytes data);
std::unique_ptr<OpenImage> open_png(Bytes data);
std::unique_ptr<OpenImage> open_webp(Bytes data);
std::unique_ptr<OpenImage> open_gif(Bytes data);
std::unique_ptr<OpenImage> open_bmp(Bytes data);
std::unique_ptr<OpenImage> open_ppm(Bytes data);
std::unique_ptr<OpenImage> open_tiff(Bytes data);
std::unique_ptr<OpenImage> open_avif(Bytes data);

}  // namespace ghostclas
