// TIFF: the first directory as Pillow understands it; raw strips and tiles by ourselves, others by libtiff.
#include <algorithm>
#include <array>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tiffio.h>

#include "formats.hpp"
#include "text.hpp"
#include "tiff_layout.hpp"
#include "unpack.hpp"

namespace ghostclas {
namespace {

constexpr std::uint64_t kMaxParts = 50'000;
constexpr std::uint64_t kMaxSamples = 6;
constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();

enum Tag : unsigned {
    kWidth = 256,
    kHeight = 257,
    kBitsPerSample = 258,
    kCompression = 259,
    kPhotometric = 262,
    kFillOrder = 266,
    kStripOffsets = 273,
    kSamplesPerPixel = 277,
    kRowsPerStrip = 278,
    kStripLengths = 279,
    kPlanar = 284,
    kColorMap = 320,
    kTileWidth = 322,
    kTileHeight = 323,
    kTileOffsets = 324,
    kTileLengths = 325,
    kExtraSamples = 338,
    kSampleFormat = 339,
};

enum Photometric : std::int64_t { kRgb = 2, kSeparated = 5, kYcbcr = 6, kLab = 8 };

bool is_single(unsigned tag) {
    constexpr unsigned kSingle[] = {256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323};
    return std::find(std::begin(kSingle), std::end(kSingle), tag) != std::end(kSingle);
}

bool is_kept(unsigned tag) {
    constexpr unsigned kOthers[] = {258, 273, 279, 320, 324, 325, 338, 339, 347, 530, 532};
    return is_single(tag) || std::find(std::begin(kOthers), std::end(kOthers), tag) != std::end(kOthers);
}

bool is_signed(unsigned kind) { return kind == 6 || kind == 8 || kind == 9; }

bool is_whole(unsigned kind) { return is_signed(kind) || kind == 3 || kind == 4 || kind == 13 || kind == 16; }

unsigned unsigned_bytes(unsigned kind) { return kind == 1 ? 1 : kind == 3 ? 2 : kind == 4 ? 4 : kind == 16 ? 8 : 0; }

// ------------------------------------------------------------------ the directory

// The values of a tag. Only whole numbers are used; others make a file unreadable.
struct Values {
    bool whole = false;
    bool is_signed = false;
    std::vector<std::uint64_t> bits;  // of the numbers, extended to 64

    std::size_t size() const { return bits.size(); }
    // A number beyond 63 bits becomes the largest of them.
    std::int64_t number(std::size_t i) const {
        return static_cast<std::int64_t>(is_signed ? bits[i] : std::min(bits[i], kLargest));
    }
    std::string shown(std::size_t i) const {
        return is_signed ? std::to_string(static_cast<std::int64_t>(bits[i])) : std::to_string(bits[i]);
    }
};

using Tags = std::map<unsigned, Values>;

Values values_of(Bytes data, const TiffLayout& layout, const TiffEntry& entry) {
    Values values;
    values.is_signed = is_signed(entry.kind);
    values.whole = is_whole(entry.kind);
    const unsigned size = tiff_value_bytes(entry.kind);
    if (!values.whole && entry.kind != 1) return values;
    values.bits.reserve(static_cast<std::size_t>(entry.values));
    for (std::uint64_t i = 0; i < entry.values; ++i) {
        std::uint64_t number = layout.read(data, entry.value_at + i * size, size);
        if (values.is_signed && (number >> (8 * size - 1)) != 0) number |= ~std::uint64_t{0} << (8 * size);
        values.bits.push_back(number);
    }
    return values;
}

void check_parts(Bytes data, const TiffLayout& layout, const TiffEntry& entry) {
    if (entry.values > kMaxParts) throw Damaged(thousands(entry.values) + " strips or tiles, the limit is 50,000");
    const unsigned size = unsigned_bytes(entry.kind);
    if ((entry.tag != kStripLengths && entry.tag != kTileLengths) || entry.values <= 1 || size == 0) return;
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < entry.values; ++i) {
        const std::uint64_t length = layout.read(data, entry.value_at + i * size, size);
        if (length > 2 * data.size() || (sum += length) > 2 * data.size()) {
            throw Damaged("its strips or tiles lie over each other");
        }
    }
}

void check_compression(const Values& values) {
    constexpr std::int64_t kKnown[] = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000, 50001};
    if (std::find(std::begin(kKnown), std::end(kKnown), values.number(0)) == std::end(kKnown)) {
        throw Damaged("compression " + values.shown(0) + " is not supported");
    }
}

// A file whose directory has only the entries that its pixels depend on, and their values.
struct Essential {
    std::vector<std::uint8_t> file;
    TiffLayout layout;
    Tags tags;
};

Essential essential(Bytes data) {
    Essential result;
    result.layout = tiff_layout(data);
    const TiffLayout& layout = result.layout;
    if (layout.directory < tiff_header) throw Damaged("its directory lies in its header");
    if (!layout.little && layout.is_big()) throw Damaged("BigTIFF in big-endian order is not supported");
    std::vector<std::uint8_t> table;
    std::uint64_t count = 0;
    std::uint64_t used = 0;
    tiff_entries(data, layout, [&](const TiffEntry& entry) {
        const unsigned bytes = tiff_value_bytes(entry.kind);
        if (!is_kept(entry.tag) || bytes == 0) return true;
        if (entry.values != 1 && (is_single(entry.tag) || entry.kind == 1)) {
            throw Damaged("tag " + std::to_string(entry.tag) + " has " + std::to_string(entry.values) +
                          " values instead of one");
        }
        if (is_single(entry.tag) && !is_whole(entry.kind)) {
            throw Damaged("tag " + std::to_string(entry.tag) + " is no number");
        }
        const bool inside = entry.values <= data.size() / bytes && data.holds(entry.value_at, entry.values * bytes);
        if (inside) used += entry.values * bytes;
        if (!inside || used > data.size()) {
            throw Damaged("the values of tag " + std::to_string(entry.tag) + " lie outside the file");
        }
        if (entry.tag == kSamplesPerPixel && unsigned_bytes(entry.kind) > 0) {
            const std::uint64_t samples = layout.read(data, entry.value_at, unsigned_bytes(entry.kind));
            if (samples > kMaxSamples) throw Damaged(thousands(samples) + " samples a pixel are not supported");
        }
        if (entry.tag == kCompression) check_compression(values_of(data, layout, entry));
        if (entry.tag == kStripOffsets || entry.tag == kStripLengths || entry.tag == kTileOffsets ||
            entry.tag == kTileLengths) {
            check_parts(data, layout, entry);
        }
        table.insert(table.end(), data.data() + entry.at, data.data() + entry.at + layout.entry());
        ++count;
        if (entry.values > 0 && result.tags.find(entry.tag) == result.tags.end()) {
            result.tags[entry.tag] = values_of(data, layout, entry);
        }
        return true;
    });
    result.file.assign(data.data(), data.data() + data.size());
    const std::size_t at = static_cast<std::size_t>(layout.directory);
    if (result.file.size() < at + layout.length + table.size() + layout.number) {
        result.file.resize(at + layout.length + table.size() + layout.number);
    }
    for (unsigned i = 0; i < layout.length; ++i) {
        const unsigned shift = 8 * (layout.little ? i : layout.length - 1 - i);
        result.file[at + i] = static_cast<std::uint8_t>(count >> shift);
    }
    std::copy(table.begin(), table.end(), result.file.begin() + static_cast<std::ptrdiff_t>(at + layout.length));
    // No directory follows.
    std::fill_n(result.file.begin() + static_cast<std::ptrdiff_t>(at + layout.length + table.size()), layout.number,
                std::uint8_t{0});
    return result;
}

// ------------------------------------------------------------------ kinds of pixels

struct Kind {
    std::int64_t photometric;
    std::int64_t sample_format;
    std::int64_t fill_order;
    std::size_t samples;
    std::int64_t bits;
    std::size_t extra_samples;
    std::array<std::int64_t, 3> extra;
    Mode mode;
    const char* little;  // the packing in a file of this order of bytes; none: not read
    const char* big;
};

constexpr Kind kKinds[] = {
    {0, 1, 1, 1, 1, 0, {}, Mode::bit, "1;I", "1;I"},
    {0, 1, 2, 1, 1, 0, {}, Mode::bit, "1;IR", "1;IR"},
    {1, 1, 1, 1, 1, 0, {}, Mode::bit, "1", "1"},
    {1, 1, 2, 1, 1, 0, {}, Mode::bit, "1;R", "1;R"},
    {0, 1, 1, 1, 2, 0, {}, Mode::grey, "L;2I", "L;2I"},
    {0, 1, 2, 1, 2, 0, {}, Mode::grey, "L;2IR", "L;2IR"},
    {1, 1, 1, 1, 2, 0, {}, Mode::grey, "L;2", "L;2"},
    {1, 1, 2, 1, 2, 0, {}, Mode::grey, "L;2R", "L;2R"},
    {0, 1, 1, 1, 4, 0, {}, Mode::grey, "L;4I", "L;4I"},
    {0, 1, 2, 1, 4, 0, {}, Mode::grey, "L;4IR", "L;4IR"},
    {1, 1, 1, 1, 4, 0, {}, Mode::grey, "L;4", "L;4"},
    {1, 1, 2, 1, 4, 0, {}, Mode::grey, "L;4R", "L;4R"},
    {0, 1, 1, 1, 8, 0, {}, Mode::grey, "L;I", "L;I"},
    {0, 1, 2, 1, 8, 0, {}, Mode::grey, "L;IR", "L;IR"},
    {1, 1, 1, 1, 8, 0, {}, Mode::grey, "L", "L"},
    {1, 2, 1, 1, 8, 0, {}, Mode::grey, "L", "L"},
    {1, 1, 2, 1, 8, 0, {}, Mode::grey, "L;R", "L;R"},
    {1, 1, 1, 1, 12, 0, {}, Mode::grey16, "I;12", nullptr},
    {0, 1, 1, 1, 16, 0, {}, Mode::grey16, "I;16", nullptr},
    {1, 1, 1, 1, 16, 0, {}, Mode::grey16, "I;16", "I;16B"},
    {1, 1, 2, 1, 16, 0, {}, Mode::grey16, "I;16R", nullptr},
    {1, 2, 1, 1, 16, 0, {}, Mode::grey32, "I;16S", "I;16BS"},
    {0, 3, 1, 1, 32, 0, {}, Mode::real, "F;32F", "F;32BF"},
    {1, 1, 1, 1, 32, 0, {}, Mode::grey32, "I;32N", nullptr},
    {1, 2, 1, 1, 32, 0, {}, Mode::grey32, "I;32S", "I;32BS"},
    {1, 3, 1, 1, 32, 0, {}, Mode::real, "F;32F", "F;32BF"},
    {1, 1, 1, 2, 8, 1, {0}, Mode::grey, "LX", "LX"},
    {1, 1, 1, 2, 8, 1, {1}, Mode::grey_premultiplied, "La", "La"},
    {1, 1, 1, 2, 8, 1, {2}, Mode::grey_alpha, "LA", "LA"},
    {2, 1, 1, 3, 8, 0, {}, Mode::rgb, "RGB", "RGB"},
    {2, 1, 2, 3, 8, 0, {}, Mode::rgb, "RGB;R", "RGB;R"},
    {2, 1, 1, 4, 8, 0, {}, Mode::rgba, "RGBA", "RGBA"},
    {2, 1, 1, 4, 8, 1, {0}, Mode::rgb, "RGBX", "RGBX"},
    {2, 1, 1, 5, 8, 2, {0, 0}, Mode::rgb, "RGBXX", "RGBXX"},
    {2, 1, 1, 6, 8, 3, {0, 0, 0}, Mode::rgb, "RGBXXX", "RGBXXX"},
    {2, 1, 1, 4, 8, 1, {1}, Mode::rgba, "RGBa", "RGBa"},
    {2, 1, 1, 5, 8, 2, {1, 0}, Mode::rgba, "RGBaX", "RGBaX"},
    {2, 1, 1, 6, 8, 3, {1, 0, 0}, Mode::rgba, "RGBaXX", "RGBaXX"},
    {2, 1, 1, 4, 8, 1, {2}, Mode::rgba, "RGBA", "RGBA"},
    {2, 1, 1, 5, 8, 2, {2, 0}, Mode::rgba, "RGBAX", "RGBAX"},
    {2, 1, 1, 6, 8, 3, {2, 0, 0}, Mode::rgba, "RGBAXX", "RGBAXX"},
    {2, 1, 1, 4, 8, 1, {999}, Mode::rgba, "RGBA", "RGBA"},
    {2, 1, 1, 3, 16, 0, {}, Mode::rgb, "RGB;16L", "RGB;16B"},
    {2, 1, 1, 4, 16, 0, {}, Mode::rgba, "RGBA;16L", "RGBA;16B"},
    {2, 1, 1, 4, 16, 1, {0}, Mode::rgb, "RGBX;16L", "RGBX;16B"},
    {2, 1, 1, 4, 16, 1, {1}, Mode::rgba, "RGBa;16L", "RGBa;16B"},
    {2, 1, 1, 4, 16, 1, {2}, Mode::rgba, "RGBA;16L", "RGBA;16B"},
    {3, 1, 1, 1, 1, 0, {}, Mode::palette, "P;1", "P;1"},
    {3, 1, 2, 1, 1, 0, {}, Mode::palette, "P;1R", "P;1R"},
    {3, 1, 1, 1, 2, 0, {}, Mode::palette, "P;2", "P;2"},
    {3, 1, 2, 1, 2, 0, {}, Mode::palette, "P;2R", "P;2R"},
    {3, 1, 1, 1, 4, 0, {}, Mode::palette, "P;4", "P;4"},
    {3, 1, 2, 1, 4, 0, {}, Mode::palette, "P;4R", "P;4R"},
    {3, 1, 1, 1, 8, 0, {}, Mode::palette, "P", "P"},
    {3, 1, 1, 2, 8, 1, {0}, Mode::palette, "PX", "PX"},
    {3, 1, 1, 2, 8, 1, {2}, Mode::palette_alpha, "PA", "PA"},
    {3, 1, 2, 1, 8, 0, {}, Mode::palette, "P;R", "P;R"},
    {5, 1, 1, 4, 8, 0, {}, Mode::cmyk, "CMYK", "CMYK"},
    {5, 1, 1, 5, 8, 1, {0}, Mode::cmyk, "CMYKX", "CMYKX"},
    {5, 1, 1, 6, 8, 2, {0, 0}, Mode::cmyk, "CMYKXX", "CMYKXX"},
    {5, 1, 1, 4, 16, 0, {}, Mode::cmyk, "CMYK;16L", "CMYK;16B"},
    {6, 1, 1, 1, 8, 0, {}, Mode::grey, "L", "L"},
    {6, 1, 1, 3, 8, 0, {}, Mode::ycbcr, "YCbCr", "YCbCr"},
    {8, 1, 1, 3, 8, 0, {}, Mode::lab, "LAB", "LAB"},
};

bool is_little_endian() {
    const std::uint16_t one = 1;
    std::uint8_t first = 0;
    std::memcpy(&first, &one, 1);
    return first == 1;
}

struct CloseTiff {
    void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};

struct Memory {
    const std::uint8_t* data;
    std::uint64_t size;
    std::uint64_t at;
};

extern "C" {
static tmsize_t ghostclas_tiff_read(thandle_t handle, void* out, tmsize_t size) {
    auto* memory = static_cast<Memory*>(handle);
    if (size <= 0 || memory->at >= memory->size) return 0;
    const std::uint64_t count = std::min(static_cast<std::uint64_t>(size), memory->size - memory->at);
    std::memcpy(out, memory->data + memory->at, static_cast<std::size_t>(count));
    memory->at += count;
    return static_cast<tmsize_t>(count);
}
static tmsize_t ghostclas_tiff_write(thandle_t, void*, tmsize_t) { return 0; }
static toff_t ghostclas_tiff_seek(thandle_t handle, toff_t offset, int whence) {
    auto* memory = static_cast<Memory*>(handle);
    memory->at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? memory->at + offset : memory->size + offset;
    return memory->at;
}
static int ghostclas_tiff_close(thandle_t) { return 0; }
static toff_t ghostclas_tiff_size(thandle_t handle) { return static_cast<Memory*>(handle)->size; }
static int ghostclas_tiff_map(thandle_t handle, void** base, toff_t* size) {
    auto* memory = static_cast<Memory*>(handle);
    // libtiff only reads what is opened for reading.
    *base = const_cast<std::uint8_t*>(memory->data);
    *size = memory->size;
    return 1;
}
static void ghostclas_tiff_unmap(thandle_t, void*, toff_t) {}
#if TIFFLIB_VERSION >= 20221213
static int ghostclas_tiff_silence(TIFF*, void*, const char*, const char*, va_list) { return 1; }
#endif
}

std::unique_ptr<TIFF, CloseTiff> open_memory(Memory* memory) {
#if TIFFLIB_VERSION >= 20221213
    TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
    if (options == nullptr) throw std::bad_alloc();
    TIFFOpenOptionsSetErrorHandlerExtR(options, ghostclas_tiff_silence, nullptr);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ghostclas_tiff_silence, nullptr);
    std::unique_ptr<TIFF, CloseTiff> tiff(TIFFClientOpenExt(
        "image.tif", "rC", memory, ghostclas_tiff_read, ghostclas_tiff_write, ghostclas_tiff_seek,
        ghostclas_tiff_close, ghostclas_tiff_size, ghostclas_tiff_map, ghostclas_tiff_unmap, options));
    TIFFOpenOptionsFree(options);
#else
    // Older versions have handlers of the whole process alone.
    TIFFSetErrorHandler(nullptr);
    TIFFSetWarningHandler(nullptr);
    std::unique_ptr<TIFF, CloseTiff> tiff(TIFFClientOpen(
        "image.tif", "rC", memory, ghostclas_tiff_read, ghostclas_tiff_write, ghostclas_tiff_seek,
        ghostclas_tiff_close, ghostclas_tiff_size, ghostclas_tiff_map, ghostclas_tiff_unmap));
#endif
    return tiff;
}

[[noreturn]] void refuse_broken() { throw Damaged("decoder error -2"); }
[[noreturn]] void refuse_memory() { throw Damaged("decoder error -9"); }

class TiffImage : public OpenImage {
  public:
    explicit TiffImage(Bytes data) : source_(essential(data)) {
        compression_ = number(kCompression).value_or(1);
        planar_ = number(kPlanar).value_or(1);
        photometric_ = compression_ == COMPRESSION_OJPEG ? kYcbcr : number(kPhotometric).value_or(0);
        if (source_.tags.count(kWidth) == 0 || source_.tags.count(kHeight) == 0) throw Damaged("Missing dimensions");
        const std::int64_t across = source_.tags[kWidth].number(0);
        const std::int64_t down = source_.tags[kHeight].number(0);
        choose_kind();
        if (!by_libtiff() && source_.tags.count(kStripOffsets) == 0 && source_.tags.count(kTileOffsets) == 0) {
            throw Damaged("unknown data organization");
        }
        if (!by_libtiff() && across <= UINT32_MAX && down <= UINT32_MAX) place_parts(across, down);
        if (across <= 0 || down <= 0) throw Damaged("not identified by this driver");
        if (across > UINT32_MAX || down > UINT32_MAX) {
            throw Beyond(source_.tags[kWidth].bits[0], source_.tags[kHeight].bits[0]);
        }
        width = static_cast<std::uint32_t>(across);
        height = static_cast<std::uint32_t>(down);
        if (by_libtiff()) {
            unpacked_at_a_time = unpacked();
            if (compression_ == COMPRESSION_LZMA) lzma_bits = static_cast<std::uint64_t>(std::max(pixel_bits(), 0.0));
        }
        if (mode == Mode::palette || mode == Mode::palette_alpha) {
            if (source_.tags.count(kColorMap) == 0) throw Damaged("320");
        }
        transparent = mode == Mode::grey_alpha || mode == Mode::grey_premultiplied || mode == Mode::rgba ||
                      mode == Mode::palette_alpha;
        exif.assign(data.data(), data.data() + data.size());
    }

    Pixels load() override {
        Pixels image(mode, static_cast<int>(width), static_cast<int>(height));
        if (mode == Mode::palette || mode == Mode::palette_alpha) fill_palette(image.palette);
        if (by_libtiff()) {
            load_by_libtiff(image);
        } else {
            load_parts(image);
        }
        return image;
    }

  private:
    struct Part {
        std::int64_t left, top, right, bottom;
        std::uint64_t at;
        std::int64_t stride;
        std::string packing;

        bool same_place(const Part& other) const {
            return left == other.left && top == other.top && right == other.right && bottom == other.bottom &&
                   stride == other.stride && packing == other.packing;
        }
    };

    bool by_libtiff() const { return compression_ != COMPRESSION_NONE; }

    // The first value of a tag, if there is one.
    std::optional<std::int64_t> number(unsigned tag) const {
        const auto found = source_.tags.find(tag);
        if (found == source_.tags.end()) return std::nullopt;
        if (!found->second.whole || found->second.size() == 0) return -1;
        return found->second.number(0);
    }

    std::vector<std::int64_t> numbers(unsigned tag, std::vector<std::int64_t> otherwise) const {
        const auto found = source_.tags.find(tag);
        if (found == source_.tags.end()) return otherwise;
        if (!found->second.whole) return {-1};
        std::vector<std::int64_t> result;
        for (std::size_t i = 0; i < found->second.size(); ++i) result.push_back(found->second.number(i));
        return result;
    }

    void choose_kind() {
        std::vector<std::int64_t> format = numbers(kSampleFormat, {1});
        if (format.size() > 1 && std::all_of(format.begin(), format.end(), [&](auto f) { return f == format[0]; })) {
            format.resize(1);
        }
        bits_ = numbers(kBitsPerSample, {1});
        std::vector<std::int64_t> extra = numbers(kExtraSamples, {});
        const bool three = compression_ == COMPRESSION_OJPEG && (photometric_ == kRgb || photometric_ == kYcbcr);
        std::int64_t samples = number(kSamplesPerPixel).value_or(three ? 3 : 1);
        bands_ = photometric_ == kRgb || photometric_ == kYcbcr || photometric_ == kLab ? 3 : photometric_ == kSeparated ? 4 : 1;
        if (planar_ == 2 && !extra.empty() && *std::max_element(extra.begin(), extra.end()) == 0) {
            // Planes of no known use at the end are left out.
            bits_.resize(bits_.size() - std::min(bits_.size(), extra.size()));
            samples -= static_cast<std::int64_t>(extra.size());
            extra.clear();
        }
        bands_ += extra.size();
        if (samples > static_cast<std::int64_t>(kMaxSamples)) throw Damaged("Invalid value for samples per pixel");
        const auto count = static_cast<std::int64_t>(bits_.size());
        if (samples < count) {
            bits_.resize(static_cast<std::size_t>(std::max<std::int64_t>(samples >= 0 ? samples : count + samples, 0)));
        } else if (samples > count && count == 1) {
            bits_.resize(static_cast<std::size_t>(samples), bits_[0]);
        }
        if (static_cast<std::int64_t>(bits_.size()) != samples) throw Damaged("unknown data organization");
        const std::int64_t fill_order = number(kFillOrder).value_or(1);
        const Kind* kind = find_kind(format, extra, fill_order);
        if (kind == nullptr) throw Damaged("unknown pixel mode");
        if (by_libtiff() && fill_order == 2) {
            // libtiff turns the bits round itself.
            kind = find_kind(format, extra, 1);
            if (kind == nullptr) throw Damaged("unknown order of bits");
        }
        mode = kind->mode;
        packing_ = source_.layout.little ? kind->little : kind->big;
        if (packing_ == "I;32N") packing_ = is_little_endian() ? "I;32S" : "I;32BS";
        if (!by_libtiff()) return;
        if (photometric_ == kYcbcr) {
            mode = Mode::rgb;
            packing_ = compression_ == COMPRESSION_JPEG && planar_ == 1 ? "RGB" : "RGBX";
        } else if (ends_with(";16") || ends_with(";16B") || ends_with(";16L")) {
            // libtiff gives words in the machine's order.
            const bool grey = packing_.rfind("I;16", 0) == 0;
            packing_ = packing_.substr(0, packing_.find(";16") + 3);
            packing_ += is_little_endian() ? (grey ? "" : "L") : "B";
        }
    }

    bool ends_with(const std::string& end) const {
        return packing_.size() >= end.size() && packing_.compare(packing_.size() - end.size(), end.size(), end) == 0;
    }

    const Kind* find_kind(const std::vector<std::int64_t>& format, const std::vector<std::int64_t>& extra,
                          std::int64_t fill_order) const {
        for (const Kind& kind : kKinds) {
            const bool same = kind.photometric == photometric_ && format.size() == 1 && format[0] == kind.sample_format &&
                              fill_order == kind.fill_order && bits_.size() == kind.samples &&
                              std::all_of(bits_.begin(), bits_.end(), [&](auto bits) { return bits == kind.bits; }) &&
                              extra.size() == kind.extra_samples &&
                              std::equal(extra.begin(), extra.end(), kind.extra.begin());
            if (same && (source_.layout.little ? kind.little : kind.big) != nullptr) return &kind;
        }
        return nullptr;
    }

    // Of a pixel, as the tags say.
    double pixel_bits() const {
        const std::vector<std::int64_t> written = numbers(kBitsPerSample, {1});
        if (written.empty()) throw Damaged("its samples have no bits");
        const double samples = static_cast<double>(std::max<std::int64_t>(
            static_cast<std::int64_t>(written.size()), number(kSamplesPerPixel).value_or(1)));
        return samples * static_cast<double>(*std::max_element(written.begin(), written.end()));
    }

    std::uint64_t unpacked() const {
        const auto side = [&](unsigned tag) { return static_cast<double>(number(tag).value_or(0)); };
        const double tile = side(kTileWidth) * side(kTileHeight);
        const double rows = std::min(static_cast<double>(number(kRowsPerStrip).value_or(height)), static_cast<double>(height));
        const double bytes = (tile != 0 ? tile : width * rows) * pixel_bits() / 8;
        // Beyond every limit, the exact number does not matter.
        return bytes > 0 ? static_cast<std::uint64_t>(std::min(bytes, 1e18)) : 0;
    }

    // ---------------------------------------------------------------- without compression

    void place_parts(std::int64_t across, std::int64_t down) {
        const bool strips = source_.tags.count(kStripOffsets) > 0;
        const Values& places = source_.tags[strips ? kStripOffsets : kTileOffsets];
        std::vector<std::uint64_t> offsets = places.bits;
        signed_offsets_ = places.is_signed;
        std::int64_t part_width = across;
        std::int64_t part_height = down;
        const unsigned row_tag = strips ? kRowsPerStrip : kTileHeight;
        if (source_.tags.count(row_tag) > 0) {
            part_height = *number(row_tag);
        }
        if (!strips) {
            if (source_.tags.count(kTileWidth) == 0 || source_.tags.count(kTileHeight) == 0) {
                throw Damaged("Invalid tile dimensions");
            }
            part_width = *number(kTileWidth);
        }
        if (part_width == across && part_height == down && planar_ != 2 && offsets.size() > 1) {
            offsets.erase(offsets.begin(), offsets.end() - 1);
        }
        std::int64_t x = 0;
        std::int64_t y = 0;
        std::size_t layer = 0;
        std::int64_t sum = 0;
        for (const std::int64_t bits : bits_) sum += bits;
        for (const std::uint64_t offset : offsets) {
            Part part;
            double stride = x + part_width > across ? static_cast<double>(part_width) * static_cast<double>(sum) / 8 : 0;
            part.packing = packing_;
            if (planar_ == 2) {
                if (layer >= packing_.size()) throw Damaged();
                part.packing = packing_.substr(layer, 1);
                stride /= static_cast<double>(bands_);
            }
            constexpr double beyond = 9223372036854775808.0;
            part.stride = stride < beyond ? static_cast<std::int64_t>(stride) : std::numeric_limits<std::int64_t>::max();
            part.left = x;
            part.top = y;
            part.right = std::min(x + part_width, across);
            part.bottom = std::min(y + part_height, down);
            part.at = offset;
            parts_.push_back(part);
            x += part_width;
            if (x >= across) {
                x = 0;
                y += part_height;
                if (y >= down) {
                    y = 0;
                    ++layer;
                }
            }
        }
    }

    void load_parts(Pixels& image) {
        if (parts_.empty()) throw Damaged("cannot load this image");
        std::stable_sort(parts_.begin(), parts_.end(), [this](const Part& a, const Part& b) {
            return signed_offsets_ ? static_cast<std::int64_t>(a.at) < static_cast<std::int64_t>(b.at) : a.at < b.at;
        });
        // Of several at the same place, one after the other, the last counts.
        std::vector<Part> kept;
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            if (i + 1 == parts_.size() || !parts_[i].same_place(parts_[i + 1])) kept.push_back(parts_[i]);
        }
        for (std::size_t i = 0; i < kept.size(); ++i) load_part(image, kept[i], i + 1 < kept.size() ? &kept[i + 1] : nullptr);
    }

    void load_part(Pixels& image, const Part& part, const Part* next) const {
        // In the order of Pillow, whose numbers are too large for C.
        if (part.at > kLargest) {
            if (!signed_offsets_) throw Damaged();
            throw Damaged("negative seek value " + std::to_string(static_cast<std::int64_t>(part.at)));
        }
        if (part.stride > INT_MAX) throw Damaged();
        if (part.right <= part.left || part.bottom <= part.top || part.left < 0 || part.top < 0) {
            throw Damaged("tile cannot extend outside image");
        }
        if (next != nullptr && next->at > part.at && next->at - part.at > kLargest) throw Damaged();
        const auto columns = static_cast<int>(part.right - part.left);
        Pixels piece(mode, columns, static_cast<int>(part.bottom - part.top));
        const Bytes file(source_.file.data(), source_.file.size());
        const std::size_t pixel = static_cast<std::size_t>(pixel_bytes(mode));
        const int band = planar_ == 2 ? band_of(part.packing) : -1;
        if (band >= 0) {
            piece = Pixels(Mode::grey, columns, piece.height);
            unpack_rows(piece, packing("L", Mode::grey), file.part(part.at),
                        static_cast<std::uint64_t>(part.stride), false);
        } else {
            unpack_rows(piece, packing(part.packing, mode), file.part(part.at),
                        static_cast<std::uint64_t>(part.stride), false);
        }
        for (int y = 0; y < piece.height; ++y) {
            std::uint8_t* out = image.row(static_cast<int>(part.top) + y) + static_cast<std::size_t>(part.left) * pixel;
            const std::uint8_t* in = piece.row(y);
            if (band < 0) {
                std::memcpy(out, in, piece.stride);
            } else {
                for (int x = 0; x < piece.width; ++x) out[static_cast<std::size_t>(x) * pixel + static_cast<std::size_t>(band)] = in[x];
            }
        }
    }

    // Which byte of a pixel a plane of its own fills; -1 for modes of one band.
    int band_of(const std::string& letter) const {
        const char* bands = mode == Mode::rgb ? "RGB" : mode == Mode::rgba ? "RGBA" : mode == Mode::cmyk ? "CMYK" : "";
        const char* found = letter.size() == 1 ? std::strchr(bands, letter[0]) : nullptr;
        return found == nullptr || *found == '\0' ? -1 : static_cast<int>(found - bands);
    }

    void fill_palette(Palette& palette) {
        const Values& colours = source_.tags[kColorMap];
        const std::size_t count = colours.size() / 3;
        if (!colours.whole) throw Damaged("its palette holds no numbers");
        for (const std::uint64_t colour : colours.bits) {
            if (colour / 256 > 255) throw Damaged("bytes must be in range(0, 256)");
        }
        if (count > 256) throw Damaged("invalid palette size");
        for (std::size_t i = 0; i < count; ++i) {
            for (std::size_t band = 0; band < 3; ++band) {
                palette[4 * i + band] = static_cast<std::uint8_t>(colours.bits[band * count + i] / 256);
            }
        }
    }

    // ---------------------------------------------------------------- by libtiff

    void load_by_libtiff(Pixels& image) const {
        Memory memory{source_.file.data(), source_.file.size(), 0};
        const auto tiff = open_memory(&memory);
        if (!tiff || !TIFFSetSubDirectory(tiff.get(), source_.layout.directory)) refuse_broken();
        std::uint32_t across = 0;
        std::uint32_t down = 0;
        TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &across);
        TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &down);
        if (across != width || down != height) refuse_broken();
        std::uint16_t photometric = 0;
        std::uint16_t compression = 0;
        std::uint16_t planar = 0;
        TIFFGetField(tiff.get(), TIFFTAG_PHOTOMETRIC, &photometric);
        TIFFGetField(tiff.get(), TIFFTAG_COMPRESSION, &compression);
        TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_PLANARCONFIG, &planar);
#ifdef TIFFTAG_DEFLATE_SUBCODEC
        // zlib gives what there is of a stream that breaks off, as in Python; libdeflate gives nothing.
        if (compression == COMPRESSION_ADOBE_DEFLATE || compression == COMPRESSION_DEFLATE) {
            TIFFSetField(tiff.get(), TIFFTAG_DEFLATE_SUBCODEC, DEFLATE_SUBCODEC_ZLIB);
        }
#endif
        if (photometric == PHOTOMETRIC_YCBCR && compression == COMPRESSION_JPEG && planar == PLANARCONFIG_CONTIG) {
            TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        } else if (photometric == PHOTOMETRIC_YCBCR) {
            read_as_rgba(image, tiff.get());
            return;
        }
        const bool planes = planar == PLANARCONFIG_SEPARATE && bands_of_mode() > 1;
        std::uint16_t bits = 8;
        if (planes) {
            TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_BITSPERSAMPLE, &bits);
            if (bits != 8 && bits != 16) refuse_broken();
        }
        Reader reader{image, packing(packing_, mode), planes ? bands_of_mode() : 1, planes ? bits / 8U : 0};
        if (TIFFIsTiled(tiff.get())) {
            read_tiles(reader, tiff.get());
        } else {
            read_strips(reader, tiff.get());
        }
        if (reader.planes > 3 && mode == Mode::rgba) divide_by_alpha(image, tiff.get());
    }

    int bands_of_mode() const {
        switch (mode) {
            case Mode::grey_alpha:
            case Mode::grey_premultiplied:
            case Mode::palette_alpha:
                return 2;
            case Mode::rgb:
            case Mode::ycbcr:
            case Mode::lab:
                return 3;
            case Mode::rgba:
            case Mode::cmyk:
                return 4;
            default:
                return 1;
        }
    }

    struct Reader {
        Pixels& image;
        const Packing& packing;
        int planes;
        unsigned plane_bytes;  // of a sample in a plane of its own; 0: pixels lie together

        std::size_t row_bytes(std::uint64_t columns) const {
            return plane_bytes > 0 ? static_cast<std::size_t>(columns * plane_bytes) : packing.row_bytes(columns);
        }

        void put(int plane, int x, int y, const std::uint8_t* in, int columns) const {
            const std::size_t pixel = static_cast<std::size_t>(pixel_bytes(image.mode));
            std::uint8_t* out = image.row(y) + static_cast<std::size_t>(x) * pixel;
            if (plane_bytes == 0) {
                packing.unpack(out, in, columns);
                return;
            }
            // Pillow puts the second plane of two where nothing looks for it.
            if (static_cast<std::size_t>(plane) >= pixel || (pixel == 2 && plane == 1)) return;
            const std::size_t high = plane_bytes == 2 && is_little_endian() ? 1 : 0;
            for (int i = 0; i < columns; ++i) {
                out[static_cast<std::size_t>(i) * pixel + static_cast<std::size_t>(plane)] =
                    in[static_cast<std::size_t>(i) * plane_bytes + high];
            }
        }
    };

    void read_tiles(const Reader& reader, TIFF* tiff) const {
        const tmsize_t tile_bytes = TIFFTileSize(tiff);
        const tmsize_t row_bytes = TIFFTileRowSize(tiff);
        if (tile_bytes <= 0 || row_bytes <= 0 || row_bytes > tile_bytes) refuse_broken();
        if (tile_bytes > INT_MAX - 1) refuse_memory();
        std::uint32_t across = 0;
        std::uint32_t down = 0;
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &across);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &down);
        if (across == 0 || down == 0 || across > INT_MAX || down > INT_MAX) refuse_memory();
        const std::uint64_t plane_bits = static_cast<unsigned>(reader.packing.bits) / static_cast<unsigned>(reader.planes);
        if (static_cast<std::uint64_t>(tile_bytes) > (down * plane_bits + 7) / 8 * across) refuse_broken();
        const std::uint64_t wanted =
            (std::uint64_t{across} * static_cast<unsigned>(reader.packing.bits) / static_cast<unsigned>(reader.planes) + 7) / 8;
        if (wanted > static_cast<std::uint64_t>(row_bytes)) refuse_broken();
        const std::uint64_t needed = std::max<std::uint64_t>(
            static_cast<std::uint64_t>(tile_bytes),
            static_cast<std::uint64_t>(row_bytes) * (down - 1) + reader.row_bytes(std::min(across, width)));
        if (needed > INT_MAX) refuse_memory();
        Buffer tile(static_cast<std::size_t>(needed));
        for (std::uint32_t y = 0; y < height; y += down) {
            for (int plane = 0; plane < reader.planes; ++plane) {
                for (std::uint32_t x = 0; x < width; x += across) {
                    if (TIFFReadTile(tiff, tile.data(), x, y, 0, static_cast<std::uint16_t>(plane)) == -1) refuse_broken();
                    const auto columns = static_cast<int>(std::min(across, width - x));
                    for (std::uint32_t row = 0; row < std::min(down, height - y); ++row) {
                        reader.put(plane, static_cast<int>(x), static_cast<int>(y + row),
                                   tile.data() + static_cast<std::size_t>(row) * static_cast<std::size_t>(row_bytes), columns);
                    }
                    if (width - x <= across) break;
                }
            }
            if (height - y <= down) break;
        }
    }

    void read_strips(const Reader& reader, TIFF* tiff) const {
        std::uint32_t rows = 0;
        if (TIFFGetField(tiff, TIFFTAG_ROWSPERSTRIP, &rows) != 1 || rows == UINT32_MAX) rows = height;
        if (rows > INT_MAX) refuse_memory();
        const tmsize_t strip_bytes = TIFFStripSize(tiff);
        if (strip_bytes > INT_MAX - 1) refuse_memory();
        const std::uint64_t wanted =
            (std::uint64_t{width} * static_cast<unsigned>(reader.packing.bits) / static_cast<unsigned>(reader.planes) + 7) / 8;
        if (rows == 0 || strip_bytes <= 0 || static_cast<std::uint64_t>(strip_bytes) > wanted * rows) refuse_broken();
        const tmsize_t row_bytes = TIFFScanlineSize(tiff);
        if (row_bytes <= 0 || wanted > static_cast<std::uint64_t>(row_bytes)) refuse_broken();
        const std::uint64_t needed = std::max<std::uint64_t>(
            static_cast<std::uint64_t>(strip_bytes),
            static_cast<std::uint64_t>(row_bytes) * (std::min(rows, height) - 1) + reader.row_bytes(width));
        if (needed > INT_MAX) refuse_memory();
        Buffer strip(static_cast<std::size_t>(needed));
        for (std::uint32_t y = 0; y < height; y += rows) {
            for (int plane = 0; plane < reader.planes; ++plane) {
                const std::uint32_t index = TIFFComputeStrip(tiff, y, static_cast<std::uint16_t>(plane));
                if (TIFFReadEncodedStrip(tiff, index, strip.data(), strip_bytes) == -1) refuse_broken();
                for (std::uint32_t row = 0; row < std::min(rows, height - y); ++row) {
                    reader.put(plane, 0, static_cast<int>(y + row),
                               strip.data() + static_cast<std::size_t>(row) * static_cast<std::size_t>(row_bytes),
                               static_cast<int>(width));
                }
            }
            if (height - y <= rows) break;
        }
    }

    struct RgbaReader {
        TIFFRGBAImage image;
        bool begun = false;
        ~RgbaReader() {
            if (begun) TIFFRGBAImageEnd(&image);
        }
    };

    // Chroma may be subsampled: libtiff makes RGBA of it.
    void read_as_rgba(Pixels& image, TIFF* tiff) const {
        std::uint32_t rows = 0;
        const std::uint32_t tag = TIFFIsTiled(tiff) ? TIFFTAG_TILELENGTH : TIFFTAG_ROWSPERSTRIP;
        if (TIFFGetFieldDefaulted(tiff, tag, &rows) != 1 || rows == UINT32_MAX) rows = height;
        char message[1024] = "";
        RgbaReader reader;
        if (!TIFFRGBAImageOK(tiff, message) || !TIFFRGBAImageBegin(&reader.image, tiff, 0, message)) refuse_broken();
        reader.begun = true;
        reader.image.req_orientation = ORIENTATION_TOPLEFT;
        reader.image.col_offset = 0;
        if (reader.image.width != width || reader.image.height != height || rows == 0) refuse_broken();
        if (std::uint64_t{width} * 4 > INT_MAX || std::uint64_t{width} * 4 * rows > INT_MAX) refuse_memory();
        std::vector<std::uint32_t> block(std::size_t{width} * std::min(rows, height));
        for (std::uint32_t y = 0; y < height; y += rows) {
            const std::uint32_t count = std::min(rows, height - y);
            reader.image.row_offset = static_cast<int>(y);
            if (!TIFFRGBAImageGet(&reader.image, block.data(), width, count)) refuse_broken();
            for (std::uint32_t row = 0; row < count; ++row) {
                std::uint8_t* out = image.row(static_cast<int>(y + row));
                for (std::uint32_t x = 0; x < width; ++x, out += 3) {
                    const std::uint32_t pixel = block[std::size_t{row} * width + x];
                    out[0] = static_cast<std::uint8_t>(TIFFGetR(pixel));
                    out[1] = static_cast<std::uint8_t>(TIFFGetG(pixel));
                    out[2] = static_cast<std::uint8_t>(TIFFGetB(pixel));
                }
            }
            if (height - y <= rows) break;
        }
    }

    static void divide_by_alpha(Pixels& image, TIFF* tiff) {
        std::uint16_t count = 0;
        std::uint16_t* kinds = nullptr;
        TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
        if (count < 1 || (kinds[0] != EXTRASAMPLE_UNSPECIFIED && kinds[0] != EXTRASAMPLE_ASSOCALPHA)) return;
        const Packing& divide = packing("RGBa", Mode::rgba);
        std::vector<std::uint8_t> row(image.stride);
        for (int y = 0; y < image.height; ++y) {
            std::memcpy(row.data(), image.row(y), image.stride);
            divide.unpack(image.row(y), row.data(), image.width);
        }
    }

    Essential source_;
    std::int64_t compression_ = 1;
    std::int64_t planar_ = 1;
    std::int64_t photometric_ = 0;
    std::vector<std::int64_t> bits_;
    std::size_t bands_ = 1;
    std::string packing_;
    std::vector<Part> parts_;
    bool signed_offsets_ = false;
};

}  // namespace

std::unique_ptr<OpenImage> open_tiff(Bytes data) { return std::make_unique<TiffImage>(data); }

}  // namespace ghostclas
