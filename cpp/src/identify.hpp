// Which format a file is, by its first bytes and never by its name.
#pragma once

#include <string>

#include "bytes.hpp"

namespace ghostclas {

enum class Format { jpeg, png, webp, gif, bmp, tiff, ppm, avif };

const char* format_name(Format format);  // "JPEG", "PNG", "WebP", ...

// Throws Error: empty, unsupported (another format), not_an_image.
Format identify(const std::string& name, Bytes data);

[[noreturn]] void refuse_not_an_image(const std::string& name);

}  // namespace ghostclas
