// PNG: chunks and filters of our own over zlib, as Pillow decodes it. Damage that libpng would refuse or repair
// gets the same answer as in Python.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <zlib.h>

#include "formats.hpp"
#include "unpack.hpp"

namespace ghostclas {
namespace {

constexpr char kSignature[] = "\x89PNG\r\n\x1a\n";
constexpr std::uint8_t kEnd[] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};

void append(std::vector<std::uint8_t>& out, Bytes part) {
    out.insert(out.end(), part.data(), part.data() + part.size());
}

bool is_kind(Bytes chunk, const char* kind) { return chunk.part(4, 4).starts_with(kind); }

// Keeps the header and the chunks of the still image and of its orientation, and puts all pixels into one chunk.
std::vector<std::uint8_t> essential(Bytes data) {
    constexpr std::uint64_t first = 8;
    if (!is_kind(data.part(first, 8), "IHDR")) throw Damaged("its header is not its first chunk");
    std::vector<Bytes> kept{data.part(0, 8)};
    std::vector<Bytes> pixels;
    Bytes exif;
    std::uint64_t at = first;
    std::size_t size = 0;
    while (at + 8 <= data.size()) {
        const std::uint64_t count = data.be32(at);
        const Bytes chunk = data.part(at, 12 + count);
        if (is_kind(chunk, "IDAT")) {
            if (count > 0) {
                // What is there before the checksum.
                const Bytes content = data.part(at + 8, count);
                pixels.push_back(content);
                size += content.size();
            }
        } else if (is_kind(chunk, "IEND")) {
            break;
        } else if (is_kind(chunk, "eXIf")) {
            exif = chunk;
        } else if (at == first || ((is_kind(chunk, "PLTE") || is_kind(chunk, "tRNS")) && pixels.empty())) {
            kept.push_back(chunk);
        }
        at += 12 + count;
    }
    std::vector<std::uint8_t> out;
    out.reserve(size + 4096);
    for (const Bytes& chunk : kept) append(out, chunk);
    append(out, exif);
    for (unsigned shift = 32; shift > 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(size >> (shift - 8)));
    append(out, {reinterpret_cast<const std::uint8_t*>("IDAT"), 4});
    for (const Bytes& part : pixels) append(out, part);
    out.insert(out.end(), 4, 0);
    append(out, {kEnd, sizeof kEnd});
    return out;
}

struct Kind {
    unsigned bits;
    unsigned colour;
    Mode mode;
    const char* packing;
};

constexpr Kind kKinds[] = {
    {1, 0, Mode::bit, "1"},          {2, 0, Mode::grey, "L;2"},       {4, 0, Mode::grey, "L;4"},
    {8, 0, Mode::grey, "L"},         {16, 0, Mode::grey16, "I;16B"},  {8, 2, Mode::rgb, "RGB"},
    {16, 2, Mode::rgb, "RGB;16B"},   {1, 3, Mode::palette, "P;1"},    {2, 3, Mode::palette, "P;2"},
    {4, 3, Mode::palette, "P;4"},    {8, 3, Mode::palette, "P"},      {8, 4, Mode::grey_alpha, "LA"},
    {16, 4, Mode::rgba, "LA;16B"},   {8, 6, Mode::rgba, "RGBA"},      {16, 6, Mode::rgba, "RGBA;16B"},
};

// ------------------------------------------------------------------ rows

constexpr unsigned kPasses = 7;
constexpr unsigned kFirstColumn[] = {0, 4, 0, 2, 0, 1, 0};
constexpr unsigned kFirstRow[] = {0, 0, 4, 0, 2, 0, 1};
constexpr unsigned kColumnStep[] = {8, 8, 4, 4, 2, 2, 1};
constexpr unsigned kRowStep[] = {8, 8, 8, 4, 4, 2, 2};

void undo_filter(unsigned kind, std::uint8_t* row, const std::uint8_t* above, std::size_t size, std::size_t step) {
    const auto add = [row](std::size_t i, unsigned value) { row[i] = static_cast<std::uint8_t>(row[i] + value); };
    switch (kind) {
        case 0:
            return;
        case 1:
            for (std::size_t i = step; i < size; ++i) add(i, row[i - step]);
            return;
        case 2:
            for (std::size_t i = 0; i < size; ++i) add(i, above[i]);
            return;
        case 3:
            for (std::size_t i = 0; i < size && i < step; ++i) add(i, above[i] / 2U);
            for (std::size_t i = step; i < size; ++i) add(i, (row[i - step] + above[i]) / 2U);
            return;
        case 4:
            for (std::size_t i = 0; i < size && i < step; ++i) add(i, above[i]);
            for (std::size_t i = step; i < size; ++i) {
                const int left = row[i - step];
                const int up = above[i];
                const int corner = above[i - step];
                const int from_left = std::abs(up - corner);
                const int from_up = std::abs(left - corner);
                const int from_corner = std::abs(left + up - 2 * corner);
                const bool is_left = from_left <= from_up && from_left <= from_corner;
                add(i, static_cast<unsigned>(is_left ? left : from_up <= from_corner ? up : corner));
            }
            return;
        default:
            throw Damaged("unrecognized data stream contents when reading image file");
    }
}

class Inflater {
  public:
    explicit Inflater(Bytes data) {
        if (inflateInit(&stream_) != Z_OK) throw Damaged("codec configuration error when reading image file");
        stream_.next_in = const_cast<Bytef*>(data.data());
        left_ = data.size();
    }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;
    ~Inflater() { inflateEnd(&stream_); }

    bool ended() const { return ended_; }

    // Fills the buffer; false where the data end before it is full.
    bool fill(std::uint8_t* out, std::size_t size) {
        stream_.next_out = out;
        while (size > 0) {
            const auto room = static_cast<uInt>(std::min<std::size_t>(size, 1U << 30));
            const auto given = static_cast<uInt>(std::min<std::size_t>(left_, 1U << 30));
            if (given == 0 || ended_) return false;
            stream_.avail_out = room;
            stream_.avail_in = given;
            const int state = inflate(&stream_, Z_NO_FLUSH);
            if (state < 0) {
                throw Damaged(state == Z_DATA_ERROR  ? "broken data stream when reading image file"
                              : state == Z_MEM_ERROR ? "out of memory when reading image file"
                                                     : "codec configuration error when reading image file");
            }
            if (state == Z_NEED_DICT) return false;
            left_ -= given - stream_.avail_in;
            size -= room - stream_.avail_out;
            ended_ = state == Z_STREAM_END;
        }
        return true;
    }

  private:
    z_stream stream_{};
    std::size_t left_ = 0;
    bool ended_ = false;
};

class PngImage : public OpenImage {
  public:
    explicit PngImage(Bytes data) : file_(essential(data)) {
        const Bytes file(file_.data(), file_.size());
        if (!file.starts_with({kSignature, 8})) throw Damaged("not a PNG file");
        std::uint64_t at = 8;
        while (true) {
            const std::uint64_t size = file.be32(at);
            const Bytes kind = file.part(at + 4, 4);
            at += 8;
            if (kind.starts_with("IDAT")) {
                // Without a header that is known, Pillow takes it for any chunk, and its checksum is not kept.
                if (packing_ == nullptr) throw Damaged("broken PNG file (bad header checksum in b'IDAT')");
                pixels_ = file.part(at, size);
                break;
            }
            if (kind.starts_with("IEND")) break;
            const Bytes content = file.part(at, size);
            if (content.size() < size) throw Damaged("Truncated File Read");
            use(kind, content);
            check_sum(file, kind, at, size);
            at += size + 4;
        }
        if (packing_ == nullptr || width == 0 || height == 0) throw Damaged("not identified by this driver");
        transparent = mode == Mode::grey_alpha || mode == Mode::rgba ||
                      !std::holds_alternative<std::monostate>(transparency_);
        // Pillow asks a palette that is not there for its mode.
        lacks_palette = mode == Mode::palette && !transparent && !has_palette_;
    }

    Pixels load() override {
        if (palette_entries_ > 256) throw Damaged("invalid palette size");
        Pixels image(mode, static_cast<int>(width), static_cast<int>(height));
        for (std::size_t i = 0; i < palette_entries_; ++i) {
            std::memcpy(image.palette.data() + 4 * i, palette_.data() + 3 * i, 3);
        }
        image.transparency = transparency_;
        Inflater inflater(pixels_);
        if (interlaced_) {
            read_passes(image, inflater);
        } else {
            read_rows(image, inflater);
        }
        return image;
    }

  private:
    static void check_sum(Bytes file, Bytes kind, std::uint64_t at, std::uint64_t size) {
        const std::string name(reinterpret_cast<const char*>(kind.data()), 4);
        const auto length = static_cast<uInt>(4 + size);
        if (crc32(crc32(0, nullptr, 0), kind.data(), length) != file.be32(at + size)) {
            throw Damaged("broken PNG file (bad header checksum in b'" + name + "')");
        }
    }

    void use(Bytes kind, Bytes content) {
        if (kind.starts_with("IHDR")) {
            use_header(content);
        } else if (kind.starts_with("PLTE")) {
            if (mode != Mode::palette || packing_ == nullptr) return;
            has_palette_ = true;
            palette_.assign(content.data(), content.data() + content.size());
            palette_entries_ = content.size() / 3;
        } else if (kind.starts_with("tRNS")) {
            if (packing_ != nullptr) use_transparency(content);
        } else if (kind.starts_with("eXIf")) {
            exif.assign(content.data(), content.data() + content.size());
        }
    }

    void use_header(Bytes content) {
        if (content.size() < 13) throw Damaged("Truncated IHDR chunk");
        width = content.be32(0);
        height = content.be32(4);
        for (const Kind& known : kKinds) {
            if (known.bits != content[8] || known.colour != content[9]) continue;
            mode = known.mode;
            packing_ = &packing(known.packing, known.mode);
        }
        if (content[12] != 0) interlaced_ = true;
        if (content[11] != 0) throw Damaged("unknown filter category");
    }

    void use_transparency(Bytes content) {
        if (mode == Mode::palette) {
            // One entry that is transparent, among others that are opaque.
            std::size_t zeros = 0;
            std::size_t opaque = 0;
            std::size_t place = 0;
            // Pillow's pattern lets a last alpha of 10, a line's end, pass.
            const std::size_t count = content.size() - (!content.empty() && content[content.size() - 1] == '\n' ? 1 : 0);
            for (std::size_t i = 0; i < count; ++i) {
                if (content[i] == 0) {
                    place = i;
                    ++zeros;
                } else if (content[i] == 255) {
                    ++opaque;
                }
            }
            if (zeros == 1 && opaque + 1 == count) {
                transparency_ = static_cast<int>(place);
            } else {
                transparency_ = std::vector<std::uint8_t>(content.data(), content.data() + content.size());
            }
        } else if (mode == Mode::rgb) {
            if (content.size() < 6) throw Damaged("Truncated tRNS chunk");
            transparency_ = std::array<int, 3>{content.be16(0), content.be16(2), content.be16(4)};
        } else if (mode == Mode::bit || mode == Mode::grey || mode == Mode::grey16) {
            if (content.size() < 2) throw Damaged("Truncated tRNS chunk");
            const int value = content.be16(0);
            transparency_ = mode == Mode::bit ? (value != 0 ? 255 : 0) : value;
        }
    }

    std::size_t step() const { return static_cast<std::size_t>(packing_->bits + 7) / 8; }

    void read_rows(Pixels& image, Inflater& inflater) const {
        const std::size_t size = packing_->row_bytes(width);
        std::vector<std::uint8_t> row(size + 1);
        std::vector<std::uint8_t> above(size + 1);
        for (int y = 0; y < image.height; ++y) {
            if (!inflater.fill(row.data(), size + 1)) refuse_end(0);
            undo_filter(row[0], row.data() + 1, above.data() + 1, size, step());
            packing_->unpack(image.row(y), row.data() + 1, image.width);
            if (inflater.ended()) return;
            row.swap(above);
        }
    }

    void read_passes(Pixels& image, Inflater& inflater) const {
        const auto bits = static_cast<unsigned>(packing_->bits);
        const std::size_t pixel = static_cast<std::size_t>(pixel_bytes(image.mode));
        std::vector<std::uint8_t> row(packing_->row_bytes(width) + 1);
        std::vector<std::uint8_t> above(row.size());
        unsigned pass = 0;
        std::uint32_t y = kFirstRow[0];
        while (true) {
            const std::uint32_t columns = (width + kColumnStep[pass] - 1 - kFirstColumn[pass]) / kColumnStep[pass];
            const std::size_t size = packing_->row_bytes(columns);
            if (!inflater.fill(row.data(), size + 1)) refuse_end(0);
            undo_filter(row[0], row.data() + 1, above.data() + 1, size, step());
            std::uint8_t* out = image.row(static_cast<int>(y)) + kFirstColumn[pass] * pixel;
            for (std::uint32_t x = 0; x < columns; ++x, out += kColumnStep[pass] * pixel) {
                const std::size_t bit = std::size_t{x} * bits;
                const std::uint8_t* packed = row.data() + 1 + bit / 8;
                const auto shifted = static_cast<std::uint8_t>(*packed << (bit % 8));
                packing_->unpack(out, bits < 8 ? &shifted : packed, 1);
            }
            row.swap(above);
            y += kRowStep[pass];
            while (pass < kPasses && (y >= height || columns_of(pass) == 0)) {
                if (++pass == kPasses) return;
                y = kFirstRow[pass];
                std::fill(above.begin(), above.end(), std::uint8_t{0});
            }
            if (inflater.ended()) return;
        }
    }

    std::uint32_t columns_of(unsigned pass) const {
        return (width + kColumnStep[pass] - 1 - kFirstColumn[pass]) / kColumnStep[pass];
    }

    std::vector<std::uint8_t> file_;
    Bytes pixels_;
    const Packing* packing_ = nullptr;
    bool interlaced_ = false;
    bool has_palette_ = false;
    std::vector<std::uint8_t> palette_;
    std::size_t palette_entries_ = 0;
    Transparency transparency_;
};

}  // namespace

std::unique_ptr<OpenImage> open_png(Bytes data) {
    return std::make_unique<PngImage>(data);
}

}  // namespace ghostclas
