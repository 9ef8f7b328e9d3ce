// WebP by libwebp's animation decoder: the first frame on its canvas.
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include <webp/demux.h>

#include "formats.hpp"

namespace ghostclas {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kPillowPixels = 2 * 89'478'485ULL;

struct DeleteDecoder {
    void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

std::uint64_t pixels_in_header(Bytes data) {
    if (data.size() < 30) return 0;
    const Bytes chunk = data.part(12, 4);
    if (chunk.starts_with("VP8 ") && data.part(23, 3).starts_with("\x9d\x01\x2a")) {
        return std::uint64_t{data.le16(26) & 0x3FFFU} * (data.le16(28) & 0x3FFFU);
    }
    if (chunk.starts_with("VP8X")) return (data.little(24, 3) + 1) * (data.little(27, 3) + 1);
    if (chunk.starts_with("VP8L") && data[20] == 0x2F) {
        const std::uint32_t bits = data.le32(21);
        return std::uint64_t{(bits & 0x3FFF) + 1} * ((bits >> 14 & 0x3FFF) + 1);
    }
    return 0;
}

class WebpImage : public OpenImage {
  public:
    explicit WebpImage(Bytes data) {
        const Bytes chunk = data.part(12, 4);
        if (!chunk.starts_with("VP8 ") && !chunk.starts_with("VP8X") && !chunk.starts_with("VP8L")) {
            throw Damaged("not a WEBP file");
        }
        // The decoder takes memory for the canvas when it is made.
        if (const std::uint64_t pixels = pixels_in_header(data); pixels > kPillowPixels) {
            throw Bomb("Image size (" + std::to_string(pixels) + " pixels) exceeds limit of " +
                       std::to_string(kPillowPixels) + " pixels, could be decompression bomb DOS attack.");
        }
        WebPData file{data.data(), data.size()};
        WebPAnimDecoderOptions options;
        if (!WebPAnimDecoderOptionsInit(&options)) throw Damaged("could not create decoder object");
        // Pillow takes RGBX for an image that is known to be opaque; the bytes are the same.
        options.color_mode = MODE_RGBA;
        options.use_threads = 0;
        mode = Mode::rgba;
        WebPBitstreamFeatures features;
        if (WebPGetFeatures(data.data(), data.size(), &features) == VP8_STATUS_OK && !features.has_alpha) {
            mode = Mode::rgb;
        }
        decoder_.reset(WebPAnimDecoderNew(&file, &options));
        WebPAnimInfo info;
        if (!decoder_ || !WebPAnimDecoderGetInfo(decoder_.get(), &info)) {
            throw Damaged("could not create decoder object");
        }
        width = info.canvas_width;
        height = info.canvas_height;
        transparent = mode == Mode::rgba;
        WebPChunkIterator found;
        if (WebPDemuxGetChunk(WebPAnimDecoderGetDemuxer(decoder_.get()), "EXIF", 1, &found)) {
            Bytes block(found.chunk.bytes, found.chunk.size);
            if (block.starts_with("Exif\0\0"sv)) block = block.part(6);
            exif.assign(block.data(), block.data() + block.size());
            WebPDemuxReleaseChunkIterator(&found);
        }
    }

    Pixels load() override {
        std::uint8_t* canvas = nullptr;
        int timestamp = 0;
        if (!WebPAnimDecoderGetNext(decoder_.get(), &canvas, &timestamp)) throw Damaged("failed to read next frame");
        Pixels image(mode, static_cast<int>(width), static_cast<int>(height));
        for (int y = 0; y < image.height; ++y) {
            const std::uint8_t* in = canvas + static_cast<std::size_t>(y) * width * 4;
            std::uint8_t* out = image.row(y);
            if (mode == Mode::rgba) {
                std::memcpy(out, in, image.stride);
                continue;
            }
            for (int x = 0; x < image.width; ++x, in += 4, out += 3) std::memcpy(out, in, 3);
        }
        return image;
    }

  private:
    std::unique_ptr<WebPAnimDecoder, DeleteDecoder> decoder_;
};

}  // namespace

std::unique_ptr<OpenImage> open_webp(Bytes data) { return std::make_unique<WebpImage>(data); }

}  // namespace ghostclas
