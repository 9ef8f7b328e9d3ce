#include "pixels.hpp"

#include <memory>
#include <new>
#include <optional>
#include <string>

#include "exif.hpp"
#include "formats.hpp"
#include "ghostclas/error.hpp"
#include "identify.hpp"
#include "limits.hpp"
#include "resample.hpp"

namespace ghostclas {
namespace {

// The part of the budget that an image holds from when its size is known.
using Held = std::optional<MemoryBudget::Part>;

std::unique_ptr<OpenImage> open(Format format, Bytes data) {
    switch (format) {
        case Format::jpeg: return open_jpeg(data);
        case Format::png: return open_png(data);
        case Format::webp: return open_webp(data);
        case Format::gif: return open_gif(data);
        case Format::bmp: return open_bmp(data);
        case Format::ppm: return open_ppm(data);
        case Format::tiff: return open_tiff(data);
        case Format::avif: return open_avif(data);
    }
    throw Damaged();
}

// Text could pass for these formats: what cannot be opened is no image.
bool signature_is_short(Format format) { return format == Format::bmp || format == Format::ppm; }

[[noreturn]] void refuse(const std::string& name, Format format, std::string reason) {
    constexpr std::size_t kLongest = 160;
    reason = reason.substr(0, kLongest);
    if (reason.empty()) reason = "its content ends or breaks off unexpectedly";
    std::string lower = reason;
    for (char& letter : lower) {
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    }
    const std::string kind = format_name(format);
    for (const char* words : {"support", "cannot handle", "unknown pixel mode"}) {
        if (lower.find(words) == std::string::npos) continue;
        throw Error(Kind::data, "unsupported",
                    name + " holds " + kind + " data of a kind that is not read (" + reason + "); save it as PNG");
    }
    throw Error(Kind::data, "truncated",
                name + " is cut short or damaged (" + kind + ": " + reason + "); get the file again");
}

Pixels decode_file(const std::string& name, Format format, Bytes data, int short_side, bool exif,
                   MemoryBudget* budget, Held& held) {
    constexpr int kDraftMargin = 2;
    const std::uint64_t buffers = check_file(name, format, data);
    std::unique_ptr<OpenImage> image;
    try {
        image = open(format, data);
    } catch (const Damaged&) {
        if (signature_is_short(format)) refuse_not_an_image(name);
        throw;
    }
    const std::uint64_t width = image->width;
    const std::uint64_t height = image->height;
    check_size(name, width, height, &format);
    if (short_side > 0) image->draft(kDraftMargin * short_side);
    const int turn = exif ? orientation({image->exif.data(), image->exif.size()}) : 1;
    const std::uint64_t needed =
        check_image(name, format, *image, data, width, height, buffers, turn >= 2 && turn <= 8);
    held.emplace(budget, needed);
    Pixels pixels = image->load();
    image.reset();
    return upright(to_rgb(name, std::move(pixels)), turn);
}

// `short_side` is 0 for an image that is decoded in full.
Pixels decode(const std::string& name, Bytes data, int short_side, bool exif, MemoryBudget* budget, Held& held) {
    const Format format = identify(name, data);
    try {
        return decode_file(name, format, data, short_side, exif, budget, held);
    } catch (const Damaged& damage) {
        refuse(name, format, damage.what());
    } catch (const Beyond& beyond) {
        check_size(name, beyond.width, beyond.height, &format);
        throw;
    } catch (const Bomb& bomb) {
        throw Error(Kind::data, "too_large", name + " is too large: " + bomb.what());
    } catch (const std::bad_alloc&) {
        throw Error(Kind::data, "too_large", name + " does not fit into memory; make it smaller first");
    }
}

void check_spec(const PreprocessSpec& spec) {
    if (spec.interpolation == Interpolation::lanczos && !spec.antialias) {
        throw Error(Kind::usage, "usage",
                    "resize.interpolation 'lanczos' needs resize.antialias true; "
                    "without antialiasing use nearest, bilinear or bicubic");
    }
}

}  // namespace

void preprocess(std::string_view name, const std::uint8_t* data, std::size_t size, const PreprocessSpec& spec,
                std::uint8_t* out, MemoryBudget* budget) {
    const bool antialiased =
        spec.antialias && spec.interpolation != Interpolation::nearest && spec.library == ResizeLibrary::none;
    Held held;
    const Pixels image =
        decode(std::string(name), {data, size}, antialiased ? spec.short_side : 0, spec.exif, budget, held);
    preprocess_rgb(image.bytes.data(), image.width, image.height, spec, out);
}

void preprocess_rgb(const std::uint8_t* rgb, int width, int height, const PreprocessSpec& spec, std::uint8_t* out) {
    check_spec(spec);
    if (rgb == nullptr || width < 1 || height < 1) {
        throw Error(Kind::data, "empty",
                    "the array has no pixels: [" + std::to_string(height) + " x " + std::to_string(width) + " x 3]");
    }
    check_size("the array", static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height), nullptr);
    const Source source{rgb, width, height};
    if (spec.library != ResizeLibrary::none) {
        const Cut cut = whole_cut(width, height, spec);
        if (spec.library == ResizeLibrary::opencv) {
            resize_opencv(source, cut, spec.crop, out);
            return;
        }
        if (static_cast<std::uint64_t>(cut.width) * static_cast<std::uint64_t>(cut.height) > kMaxPixels) {
            throw Error(Kind::data, "too_large",
                        "scaled, the image has " + std::to_string(cut.width) + " x " + std::to_string(cut.height) +
                            " pixels; cut its long side first");
        }
        resize_whole(source, cut, spec.interpolation, spec.crop, out);
        return;
    }
    const Box box = crop_box(width, height, spec);
    if (spec.interpolation == Interpolation::nearest) {
        resize_nearest(source, box, spec.crop, out);
    } else if (spec.antialias) {
        resize_antialiased(source, box, spec.interpolation, spec.crop, out);
    } else {
        resize_plain(source, box, spec.interpolation, spec.crop, out);
    }
}

}  // namespace ghostclas
