#include "limits.hpp"

#include <algorithm>

#include "ghostclas/error.hpp"
#include "jpeg_work.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

constexpr std::uint64_t kOrdinaryBytes = 10'000'000;
constexpr std::uint64_t kMemory = 400'000'000;
constexpr std::uint64_t kMaxScannedBlocks = 40'000'000;
constexpr std::uint64_t kMaxPngBytes = 150'000'000;
constexpr std::uint64_t kMaxLzmaBytes = 150'000'000;
constexpr std::uint64_t kMaxSide = 10'000'000;
constexpr std::uint64_t kMaxScans = 100;
constexpr std::uint64_t kMaxRunLengths = 3'000'000;
constexpr std::uint64_t kMillion = 1'000'000;
constexpr std::uint64_t kRgbBytes = 4;
constexpr std::uint64_t kPillowPixels = 89'478'485;  // PIL.Image.MAX_IMAGE_PIXELS

std::string digits(std::uint64_t value) { return thousands(value); }

std::uint64_t in_proportion(std::uint64_t limit, Bytes data) {
    // limit * size / 10 MB, without leaving 64 bits.
    const std::uint64_t grown = limit / kOrdinaryBytes * data.size() + limit % kOrdinaryBytes * data.size() / kOrdinaryBytes;
    return std::max(limit, grown);
}

[[noreturn]] void refuse(const std::string& message) { throw Error(Kind::data, "too_large", message); }

// What Pillow keeps of a pixel; the limits are those of the Python package, whose memory they describe.
std::uint64_t pillow_bytes(Mode mode) {
    switch (mode) {
        case Mode::bit:
        case Mode::grey:
        case Mode::palette:
            return 1;
        case Mode::grey16:
            return 2;
        default:
            return 4;
    }
}

std::uint64_t conversion_bytes(const OpenImage& image) {
    if (image.mode == Mode::grey16 || image.mode == Mode::grey32 || image.mode == Mode::real) return 1 + kRgbBytes;
    if (image.lacks_palette) throw Damaged();
    if (image.transparent) return image.mode == Mode::rgba ? kRgbBytes : 2 * kRgbBytes;
    return image.mode == Mode::rgb ? 0 : kRgbBytes;
}

std::uint64_t png_bytes(Bytes data) {
    const std::uint64_t width = data.be32(16);
    const std::uint64_t height = data.be32(20);
    const std::uint64_t bits = data[24];
    const unsigned colour = data[25];
    const std::uint64_t channels = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
    return height * (1 + width * bits * channels / 8);
}

}  // namespace

std::uint64_t check_file(const std::string& name, Format format, Bytes data) {
    if (format != Format::jpeg) return 0;
    const JpegWork work = jpeg_work(data);
    const std::uint64_t allowed = in_proportion(kMaxScannedBlocks, data);
    if (work.scans > kMaxScans || work.scanned_blocks > allowed) {
        refuse(name + " is a JPEG of " + digits(work.scans) + " scans with " + digits(work.scanned_blocks) +
               " blocks, the limits for a file of its size are " + digits(kMaxScans) + " and " + digits(allowed) +
               "; save it again");
    }
    return work.kept_bytes;
}

void check_size(const std::string& name, std::uint64_t width, std::uint64_t height, const Format* format) {
    std::uint64_t limit = kMaxPixels;
    if (format != nullptr && *format == Format::webp) limit = std::min(limit, 2 * kPillowPixels);
    if (format != nullptr && *format == Format::tiff) limit = std::min(limit, kPillowPixels);
    if (height != 0 && width > limit / height) {
        refuse(name + " has " + std::to_string(width) + " x " + std::to_string(height) + " = " +
               thousands_of_product(width, height) + " pixels, the limit is " + digits(limit) + "; make it smaller first");
    }
}

std::uint64_t check_image(const std::string& name, Format format, const OpenImage& image, Bytes data,
                          std::uint64_t width, std::uint64_t height, std::uint64_t buffers, bool turned) {
    const std::string what = name + " has " + std::to_string(width) + " x " + std::to_string(height) + " pixels in " +
                             digits(data.size()) + " bytes";
    const std::uint64_t pixels = std::uint64_t{image.width} * image.height;
    if (image.run_lengths) {
        if (std::max<std::uint64_t>(pixels, data.size()) > kMaxRunLengths) {
            refuse(what + " with run-length coding, the limit of both is " + digits(kMaxRunLengths) +
                   "; save it as PNG");
        }
    } else if (format == Format::png) {
        const std::uint64_t rows = png_bytes(data);
        const std::uint64_t allowed = in_proportion(kMaxPngBytes, data);
        if (rows > allowed) {
            refuse(what + ", which unpack to " + digits(rows / kMillion) + " MB, the limit for a PNG of its size is " +
                   digits(allowed / kMillion) + " MB; make it smaller first, or save it as JPEG");
        }
    }
    if (image.lzma_bits > 0) {
        const std::uint64_t unpacked = pixels * image.lzma_bits / 8;
        const std::uint64_t allowed = in_proportion(kMaxLzmaBytes, data);
        if (unpacked > allowed) {
            refuse(what + ", which unpack to " + digits(unpacked / kMillion) + " MB, the limit for LZMA is " +
                   digits(allowed / kMillion) + " MB; save it with another compression");
        }
    }
    if (std::max(width, height) > kMaxSide) refuse(what + ", the limit of a side is " + digits(kMaxSide));
    const bool frames = format == Format::webp || format == Format::avif;
    const std::uint64_t native = pillow_bytes(image.mode);
    const std::uint64_t still = format == Format::webp ? 8 : format == Format::avif ? 4 : 0;
    const std::uint64_t kept = native + still;
    buffers += image.unpacked_at_a_time;
    const std::uint64_t decoded = pixels * (native + (frames ? 12 : 0)) + buffers;
    const std::uint64_t converted = pixels * (kept + conversion_bytes(image));
    const std::uint64_t upright = turned ? pixels * (2 * kRgbBytes + kept - native) : 0;
    const std::uint64_t needed = std::max({decoded, converted, upright});
    const std::uint64_t allowed = in_proportion(kMemory, data);
    if (needed > allowed) {
        refuse(what + ": to decode this " + format_name(format) + " takes " + digits(needed / kMillion) +
               " MB of memory, the limit for a file of its size is " + digits(allowed / kMillion) +
               " MB; make it smaller first, or save it as JPEG");
    }
    return needed + 2 * data.size();
}

}  // namespace ghostclas
