// JPEG by libjpeg-turbo, fed as Pillow feeds it: a source that suspends where the file ends.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "formats.hpp"
#include "unpack.hpp"

namespace ghostclas {
namespace {

constexpr unsigned kScan = 0xDA;

// ------------------------------------------------------------------ the header, as Pillow reads it

struct Header {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    unsigned layers = 0;
    bool has_scan = false;
    std::vector<std::uint8_t> exif;
};

// Throws where Pillow trips over the resources of Photoshop, and returns where it stops to read them.
void check_photoshop(Bytes segment) {
    constexpr unsigned resolution = 0x3ED;
    constexpr std::size_t resolution_bytes = 14;
    std::uint64_t at = 14;
    while (segment.part(at, 4).starts_with("8BIM")) {
        at += 6;
        if (at > segment.size()) return;
        const unsigned kind = segment.be16(at - 2);
        // Only the length of the name is read without regard to the end.
        const std::uint64_t named = at + 1 + segment[at];
        at = named + (named & 1);
        if (!segment.holds(at, 4)) return;
        const std::uint64_t size = segment.be32(at);
        if (kind == resolution && segment.part(at + 4, size).size() < resolution_bytes) return;
        at += 4 + size;
        at += at & 1;
    }
}

class HeaderReader {
  public:
    explicit HeaderReader(Bytes data) : data_(data) {}

    Header read() {
        at_ = 3;
        // The last byte of the signature begins a marker.
        bool at_marker = true;
        while (true) {
            if (!at_marker) {
                if (at_ >= data_.size()) break;
                at_marker = data_[at_++] == 0xFF;
                continue;
            }
            if (at_ >= data_.size()) break;
            const unsigned kind = data_[at_++];
            if (kind == 0xFF) continue;
            if (kind == 0) {
                at_marker = false;
                continue;
            }
            if (kind < 0xC0) throw Damaged("no marker found");
            segment_of(kind);
            if (kind == kScan) {
                header_.has_scan = true;
                break;
            }
            at_marker = false;
        }
        if (header_.layers == 0 || header_.width == 0 || header_.height == 0) {
            throw Damaged("not identified by this driver");
        }
        return header_;
    }

  private:
    Bytes next() {
        const std::size_t length = data_.be16(at_);
        at_ += 2;
        if (length <= 2) return {};
        const Bytes segment = data_.part(at_, length - 2);
        if (segment.size() < length - 2) throw Damaged("Truncated File Read");
        at_ += length - 2;
        return segment;
    }

    void segment_of(unsigned kind) {
        const bool frame = kind >= 0xC0 && kind <= 0xCF && kind != 0xC4 && kind != 0xC8 && kind != 0xCC;
        if (kind == 0xC8 || (kind >= 0xD0 && kind <= 0xD9) || (kind >= 0xF0 && kind <= 0xFD)) return;
        const Bytes segment = next();
        if (frame || kind == 0xDE) frame_of(segment);
        if (kind == 0xDB) tables_of(segment);
        if (kind >= 0xE0 && kind <= 0xEF) application(kind, segment);
    }

    void frame_of(Bytes segment) {
        header_.width = segment.be16(3);
        header_.height = segment.be16(1);
        if (segment[0] != 8) throw Damaged("cannot handle " + std::to_string(segment[0]) + "-bit layers");
        const unsigned layers = segment[5];
        if (layers != 1 && layers != 3 && layers != 4) {
            throw Damaged("cannot handle " + std::to_string(layers) + "-layer images");
        }
        header_.layers = layers;
        if (!first_profile_.empty() && first_profile_.size() < 14) throw Damaged();
        first_profile_.clear();
        if (segment.size() > 6 && (segment.size() - 6) % 3 != 0) throw Damaged();
    }

    static void tables_of(Bytes segment) {
        while (!segment.empty()) {
            const std::size_t size = 1 + (segment[0] / 16 == 0 ? 64 : 128);
            if (segment.size() < size) throw Damaged("bad quantization table marker");
            segment = segment.part(size);
        }
    }

    void application(unsigned kind, Bytes segment) {
        using namespace std::string_view_literals;
        if (kind == 0xE0 && segment.starts_with("JFIF")) segment.be16(5);
        if (kind == 0xE1 && segment.starts_with("Exif\0\0"sv)) {
            header_.exif.insert(header_.exif.end(), segment.data() + 6, segment.data() + segment.size());
        } else if (kind == 0xE2 && segment.starts_with("ICC_PROFILE\0"sv)) {
            // Pillow looks at the number in the first of them in order.
            const std::string profile(reinterpret_cast<const char*>(segment.data()), segment.size());
            if (first_profile_.empty() || profile < first_profile_) first_profile_ = profile;
        } else if (kind == 0xED && segment.starts_with("Photoshop 3.0\0"sv)) {
            check_photoshop(segment);
        } else if (kind == 0xEE && segment.starts_with("Adobe")) {
            segment.be16(5);
        }
    }

    Bytes data_;
    std::size_t at_ = 0;
    std::string first_profile_;
    Header header_;
};

// ------------------------------------------------------------------ libjpeg

// All that libjpeg touches is plain data: a longjmp skips no destructor.
struct Decoder {
    jpeg_decompress_struct info;
    jpeg_error_mgr errors;
    jpeg_source_mgr source;
    std::jmp_buf failed;
    bool created;
};

struct Rows {
    std::uint8_t* first;
    std::size_t stride;
    unsigned width;
    unsigned height;
    J_COLOR_SPACE colours;
    unsigned scale;
};

enum class Outcome { decoded, broken, suspended };

extern "C" {
static void ghostclas_jpeg_exit(j_common_ptr info) {
    std::longjmp(static_cast<Decoder*>(info->client_data)->failed, 1);
}
static void ghostclas_jpeg_silence(j_common_ptr) {}
static void ghostclas_jpeg_count(j_common_ptr info, int level) {
    if (level < 0) ++info->err->num_warnings;
}
static void ghostclas_jpeg_nothing(j_decompress_ptr) {}
static boolean ghostclas_jpeg_suspend(j_decompress_ptr) { return FALSE; }
static void ghostclas_jpeg_skip(j_decompress_ptr info, long count) {
    if (count <= 0) return;
    const std::size_t step = std::min(static_cast<std::size_t>(count), info->src->bytes_in_buffer);
    info->src->next_input_byte += step;
    info->src->bytes_in_buffer -= step;
    // What lies behind the end never comes: the next read suspends.
}
}

Outcome decode(Decoder* decoder, const std::uint8_t* data, std::size_t size, const Rows* rows) {
    jpeg_decompress_struct* info = &decoder->info;
    info->err = jpeg_std_error(&decoder->errors);
    decoder->errors.error_exit = ghostclas_jpeg_exit;
    decoder->errors.output_message = ghostclas_jpeg_silence;
    decoder->errors.emit_message = ghostclas_jpeg_count;
    info->client_data = decoder;
    if (setjmp(decoder->failed)) return Outcome::broken;
    jpeg_create_decompress(info);
    decoder->created = true;
    decoder->source.init_source = ghostclas_jpeg_nothing;
    decoder->source.fill_input_buffer = ghostclas_jpeg_suspend;
    decoder->source.skip_input_data = ghostclas_jpeg_skip;
    decoder->source.resync_to_restart = jpeg_resync_to_restart;
    decoder->source.term_source = ghostclas_jpeg_nothing;
    decoder->source.next_input_byte = data;
    decoder->source.bytes_in_buffer = size;
    info->src = &decoder->source;
    int state = JPEG_HEADER_TABLES_ONLY;
    while (state == JPEG_HEADER_TABLES_ONLY) state = jpeg_read_header(info, FALSE);
    if (state == JPEG_SUSPENDED) return Outcome::suspended;
    info->out_color_space = rows->colours;
    info->scale_num = 1;
    info->scale_denom = rows->scale;
    info->dct_method = JDCT_ISLOW;
    if (!jpeg_start_decompress(info)) return Outcome::suspended;
    if (info->output_width != rows->width || info->output_height != rows->height ||
        static_cast<std::size_t>(info->output_components) * info->output_width > rows->stride) {
        return Outcome::broken;
    }
    while (info->output_scanline < rows->height) {
        JSAMPROW row = rows->first + info->output_scanline * rows->stride;
        if (jpeg_read_scanlines(info, &row, 1) != 1) return Outcome::suspended;
    }
    // Pillow goes on to the end marker, and does not miss it.
    jpeg_finish_decompress(info);
    return Outcome::decoded;
}

class DecoderGuard {
  public:
    DecoderGuard() { decoder.created = false; }
    DecoderGuard(const DecoderGuard&) = delete;
    DecoderGuard& operator=(const DecoderGuard&) = delete;
    ~DecoderGuard() {
        if (decoder.created) jpeg_destroy_decompress(&decoder.info);
    }

    Decoder decoder;
};

class JpegImage : public OpenImage {
  public:
    explicit JpegImage(Bytes data) : data_(data) {
        Header header = HeaderReader(data).read();
        width = header.width;
        height = header.height;
        has_scan_ = header.has_scan;
        exif = std::move(header.exif);
        mode = header.layers == 1 ? Mode::grey : header.layers == 3 ? Mode::rgb : Mode::cmyk;
    }

    void draft(int kept) override {
        if (!has_scan_) return;
        const std::uint32_t fits = std::min(width, height) / static_cast<std::uint32_t>(kept);
        scale_ = fits >= 8 ? 8 : fits >= 4 ? 4 : fits >= 2 ? 2 : 1;
        width = (width + scale_ - 1) / scale_;
        height = (height + scale_ - 1) / scale_;
    }

    Pixels load() override {
        if (!has_scan_) throw Damaged("cannot load this image");
        Pixels pixels(mode, static_cast<int>(width), static_cast<int>(height));
        const Rows rows{pixels.bytes.data(), pixels.stride, width, height,
                        mode == Mode::grey   ? JCS_GRAYSCALE
                        : mode == Mode::cmyk ? JCS_CMYK
                                             : JCS_RGB,
                        scale_};
        DecoderGuard guard;
        switch (decode(&guard.decoder, data_.data(), data_.size(), &rows)) {
            case Outcome::broken:
                throw Damaged("broken data stream when reading image file");
            case Outcome::suspended:
                refuse_end(guard.decoder.source.bytes_in_buffer);
            case Outcome::decoded:
                break;
        }
        if (mode == Mode::cmyk) {
            // As Adobe writes it.
            std::uint8_t* byte = pixels.bytes.data();
            const std::size_t count = pixels.stride * height;
            for (std::size_t i = 0; i < count; ++i) byte[i] = static_cast<std::uint8_t>(~byte[i]);
        }
        return pixels;
    }

  private:
    Bytes data_;
    bool has_scan_ = false;
    unsigned scale_ = 1;
};

}  // namespace

std::unique_ptr<OpenImage> open_jpeg(Bytes data) { return std::make_unique<JpegImage>(data); }

}  // namespace ghostclas
