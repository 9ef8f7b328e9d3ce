// AVIF by libavif: the first frame, with the orientation of the image's own properties.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <avif/avif.h>

#include "formats.hpp"

namespace ghostclas {
namespace {

// ------------------------------------------------------------------ tables: image_formats/avif.py

constexpr int kMaxBoxes = 10'000;
constexpr int kMaxDepth = 100;
constexpr std::uint64_t kMaxTableBytes = std::uint64_t{1} << 17;

bool is_one_of(Bytes kind, std::initializer_list<const char*> kinds) {
    for (const char* known : kinds) {
        if (kind.starts_with(known)) return true;
    }
    return false;
}

class Tables {
  public:
    explicit Tables(Bytes data) : data_(data) {}

    // Refuses tables that no picture needs: libavif looks through them again and again.
    void check(std::uint64_t at, std::uint64_t end, int depth = 1) {
        if (depth > kMaxDepth) throw Damaged("over 100 boxes within each other");
        while (at + 8 <= end) {
            std::uint64_t size = data_.be32(at);
            const Bytes kind = data_.part(at + 4, 4);
            std::uint64_t inner = at + 8;
            if (size == 1 && at + 16 <= end) {
                size = data_.big(inner, 8);
                inner += 8;
            }
            const std::uint64_t stop = size == 0 || size > end - at ? end : at + size;
            count(kind, stop - at);
            if (is_one_of(kind, {"meta", "iprp", "ipco", "moov", "trak", "mdia", "minf", "stbl"})) {
                check(inner + (kind.starts_with("meta") ? 4 : 0), stop, depth + 1);
            }
            if (stop < inner) return;
            at = stop;
        }
    }

  private:
    void count(Bytes kind, std::uint64_t size) {
        if (is_one_of(kind, {"iinf", "iloc", "iref", "ipma", "stts", "stsc", "stsz", "stco", "co64", "stss", "ctts"})) {
            bytes_ += size;
        }
        if (boxes_++ >= kMaxBoxes || bytes_ > kMaxTableBytes) {
            throw Damaged("over 10,000 boxes, or over 131,072 bytes of tables");
        }
    }

    Bytes data_;
    int boxes_ = 0;
    std::uint64_t bytes_ = 0;
};

// Hides the EXIF items, as Python does: the image's own properties define its orientation.
std::vector<std::uint8_t> without_exif(Bytes data) {
    std::vector<std::uint8_t> out(data.data(), data.data() + data.size());
    for (std::size_t at = 0; at + 5 < out.size(); ++at) {
        if (std::memcmp(out.data() + at, "infe", 4) != 0) continue;
        const std::size_t skipped = out[at + 4] == 2 ? 7 : out[at + 4] == 3 ? 9 : 0;
        const std::size_t kind = at + 5 + skipped;
        if (skipped > 0 && kind + 4 <= out.size() && std::memcmp(out.data() + kind, "Exif", 4) == 0) {
            std::memcpy(out.data() + kind, "skip", 4);
            at = kind + 3;
        }
    }
    return out;
}

// ------------------------------------------------------------------ libavif

struct DestroyDecoder {
    void operator()(avifDecoder* decoder) const { avifDecoderDestroy(decoder); }
};

// The EXIF orientation that turns and mirrors as irot and imir say.
std::uint8_t orientation_of(const avifImage& image) {
    const bool mirrored = (image.transformFlags & AVIF_TRANSFORM_IMIR) != 0;
    const unsigned turns = (image.transformFlags & AVIF_TRANSFORM_IROT) != 0 ? image.irot.angle & 3U : 0;
#if AVIF_VERSION >= 1000000
    const unsigned axis = image.imir.axis;
#else
    const unsigned axis = image.imir.mode;
#endif
    constexpr std::uint8_t kTurned[] = {1, 8, 3, 6};
    // Axis 0 exchanges top and bottom, 1 left and right; mirroring comes after turning.
    constexpr std::uint8_t kMirrored[2][4] = {{4, 5, 2, 7}, {2, 7, 4, 5}};
    return mirrored ? kMirrored[axis & 1U][turns] : kTurned[turns];
}

void require(avifResult result, const std::string& what) {
    if (result != AVIF_RESULT_OK) throw Damaged(what + avifResultToString(result));
}

class AvifImage : public OpenImage {
  public:
    explicit AvifImage(Bytes data) {
        Tables(data).check(0, data.size());
        file_ = without_exif(data);
        decoder_.reset(avifDecoderCreate());
        if (!decoder_) throw std::bad_alloc();
        decoder_->maxThreads = 1;
        decoder_->strictFlags &= ~static_cast<avifStrictFlags>(AVIF_STRICT_CLAP_VALID | AVIF_STRICT_PIXI_REQUIRED);
        require(avifDecoderSetIOMemory(decoder_.get(), file_.data(), file_.size()), "Setting IO memory failed: ");
        require(avifDecoderParse(decoder_.get()), "Failed to decode image: ");
        const avifImage& image = *decoder_->image;
        width = image.width;
        height = image.height;
        if (width == 0 || height == 0) throw Damaged("not identified by this driver");
        mode = decoder_->alphaPresent ? Mode::rgba : Mode::rgb;
        transparent = mode == Mode::rgba;
        const std::uint8_t turn = orientation_of(image);
        // A block of one entry, in which exif.hpp finds it.
        exif = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, turn, 0, 0, 0};
    }

    Pixels load() override {
        require(avifDecoderNthImage(decoder_.get(), 0), "Failed to decode frame 0: ");
        const avifImage& image = *decoder_->image;
        if (image.width != width || image.height != height) throw Damaged("its frame has another size");
        Pixels pixels(mode, static_cast<int>(width), static_cast<int>(height));
        avifRGBImage rgb;
        avifRGBImageSetDefaults(&rgb, &image);
        rgb.depth = 8;
        rgb.format = mode == Mode::rgba ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
        rgb.pixels = pixels.bytes.data();
        rgb.rowBytes = static_cast<std::uint32_t>(pixels.stride);
        require(avifImageYUVToRGB(&image, &rgb), "Conversion from YUV failed: ");
        return pixels;
    }

  private:
    std::vector<std::uint8_t> file_;
    std::unique_ptr<avifDecoder, DestroyDecoder> decoder_;
};

}  // namespace

std::unique_ptr<OpenImage> open_avif(Bytes data) { return std::make_unique<AvifImage>(data); }

}  // namespace ghostclas
