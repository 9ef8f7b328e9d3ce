// BMP: packed rows, palettes, bit fields and run lengths.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "formats.hpp"
#include "unpack.hpp"

namespace ghostclas {
namespace {

enum Compression : std::uint32_t { kRaw = 0, kRunLengths8 = 1, kRunLengths4 = 2, kBitFields = 3 };

struct Fields {
    unsigned bits;
    std::array<std::uint32_t, 4> masks;
    const char* packing;
};

constexpr Fields kFields[] = {
    {32, {0xFF0000, 0xFF00, 0xFF, 0}, "BGRX"},           {32, {0xFF000000, 0xFF0000, 0xFF00, 0}, "XBGR"},
    {32, {0xFF000000, 0xFF00, 0xFF, 0}, "BGXR"},         {32, {0xFF000000, 0xFF0000, 0xFF00, 0xFF}, "ABGR"},
    {32, {0xFF, 0xFF00, 0xFF0000, 0xFF000000}, "RGBA"},  {32, {0xFF0000, 0xFF00, 0xFF, 0xFF000000}, "BGRA"},
    {32, {0xFF000000, 0xFF00, 0xFF, 0xFF0000}, "BGAR"},  {32, {0, 0, 0, 0}, "BGRA"},
    {24, {0xFF0000, 0xFF00, 0xFF, 0}, "BGR"},            {16, {0xF800, 0x7E0, 0x1F, 0}, "BGR;16"},
    {16, {0x7C00, 0x3E0, 0x1F, 0}, "BGR;15"},
};

class BmpImage : public OpenImage {
  public:
    explicit BmpImage(Bytes data) : data_(data) {
        pixels_at_ = data.le32(10);
        const std::uint32_t size = data.le32(14);
        if (size < 4 || !data.holds(18, size - 4)) throw Damaged("Truncated File Read");
        std::uint64_t at = std::uint64_t{14} + size;
        std::uint64_t colours = 0;
        std::array<std::uint32_t, 4> masks{};
        if (size == 12) {
            width = data.le16(18);
            height = data.le16(20);
            bits_ = data.le16(24);
            padding_ = 3;
        } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) {
            width = data.le32(18);
            height = data.le32(22);
            upwards_ = data[25] != 0xFF;
            if (!upwards_) height = 0U - height;
            bits_ = data.le16(28);
            compression_ = data.le32(30);
            colours = data.le32(46);
            if (compression_ == kBitFields) {
                // A header of 40 bytes has three masks behind it; a longer one holds them, and one for alpha.
                const unsigned count = size >= 56 ? 4 : 3;
                for (unsigned i = 0; i < count; ++i) masks[i] = data.le32(54 + 4 * i);
                if (size < 52) at += 12;
            }
        } else {
            throw Damaged("Unsupported BMP header type");
        }
        choose_packing(masks);
        if (colours == 0) colours = std::uint64_t{1} << bits_;
        if (pixels_at_ == std::uint64_t{14} + size && bits_ <= 8) pixels_at_ += padding_ * colours;
        if (mode == Mode::palette) {
            if (colours > 65536) throw Damaged("Unsupported BMP Palette size");
            use_palette(data.part(at, padding_ * colours), colours);
            at += std::min<std::uint64_t>(padding_ * colours, data.size() - std::min<std::uint64_t>(at, data.size()));
        }
        if (pixels_at_ == 0) pixels_at_ = at;
        if (width == 0 || height == 0) throw Damaged("not identified by this driver");
        transparent = mode == Mode::rgba;
    }

    Pixels load() override {
        Pixels image(mode, static_cast<int>(width), static_cast<int>(height));
        if (mode == Mode::palette) fill_palette(image.palette);
        if (run_lengths) {
            const std::vector<std::uint8_t> unpacked = runs();
            const bool grey = mode == Mode::bit || mode == Mode::grey;
            const Packing& packed = packing(grey ? "L" : "P", mode);
            try {
                unpack_rows(image, packed, {unpacked.data(), unpacked.size()}, 0, upwards_);
            } catch (const Damaged&) {
                throw Damaged("not enough image data");
            }
        } else {
            const std::uint64_t stride = (std::uint64_t{width} * bits_ + 31) / 32 * 4;
            unpack_rows(image, packing(packing_, mode), data_.part(pixels_at_), stride, upwards_);
        }
        return image;
    }

  private:
    void choose_packing(const std::array<std::uint32_t, 4>& masks) {
        switch (bits_) {
            case 1: packing_ = "P;1"; break;
            case 4: packing_ = "P;4"; break;
            case 8: packing_ = "P"; break;
            case 16: packing_ = "BGR;15"; break;
            case 24: packing_ = "BGR"; break;
            case 32: packing_ = "BGRX"; break;
            default: throw Damaged("Unsupported BMP pixel depth");
        }
        mode = bits_ <= 8 ? Mode::palette : Mode::rgb;
        if (compression_ == kBitFields) {
            packing_ = nullptr;
            for (const Fields& known : kFields) {
                const std::size_t count = bits_ == 32 ? 4 : 3;
                const bool same = std::equal(known.masks.begin(), known.masks.begin() + count, masks.begin());
                if (packing_ == nullptr && known.bits == bits_ && same) packing_ = known.packing;
            }
            if (packing_ == nullptr) throw Damaged("Unsupported BMP bitfields layout");
            if (std::strchr(packing_, 'A') != nullptr) mode = Mode::rgba;
        } else if (compression_ == kRunLengths8 || compression_ == kRunLengths4) {
            run_lengths = true;
        } else if (compression_ != kRaw) {
            throw Damaged("Unsupported BMP compression");
        }
    }

    void use_palette(Bytes colours, std::uint64_t count) {
        bool grey = true;
        for (std::uint64_t i = 0; i < count && grey; ++i) {
            const auto level = static_cast<std::uint8_t>(count == 2 ? 255 * i : i);
            const Bytes colour = colours.part(i * padding_, 3);
            grey = colour.size() == 3 && colour[0] == level && colour[1] == level && colour[2] == level;
        }
        if (grey) {
            mode = count <= 2 ? Mode::bit : Mode::grey;
            packing_ = count <= 2 ? "1" : "L";
        } else {
            palette_ = colours;
        }
    }

    void fill_palette(Palette& out) const {
        const std::size_t count = palette_.size() / padding_;
        if (count > 256) throw Damaged("invalid palette size");
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint8_t* colour = palette_.data() + i * padding_;
            out[4 * i] = colour[2];
            out[4 * i + 1] = colour[1];
            out[4 * i + 2] = colour[0];
        }
    }

    std::vector<std::uint8_t> runs() const {
        const bool nibbles = compression_ == kRunLengths4;
        const std::size_t full = std::size_t{width} * height;
        std::vector<std::uint8_t> out;
        out.reserve(full);
        std::uint64_t at = pixels_at_;
        std::uint64_t x = 0;
        while (out.size() < full && data_.holds(at, 2)) {
            const unsigned count = data_[at];
            const unsigned value = data_[at + 1];
            at += 2;
            if (count > 0) {
                const std::uint64_t room = x < width ? width - x : 0;
                const std::uint64_t run = std::min<std::uint64_t>(count, room);
                for (std::uint64_t i = 0; i < run; ++i) {
                    const unsigned nibble = i % 2 == 0 ? value >> 4 : value & 15;
                    out.push_back(static_cast<std::uint8_t>(nibbles ? nibble : value));
                }
                x += run;
            } else if (value == 0) {
                while (out.size() % width != 0) out.push_back(0);
                x = 0;
            } else if (value == 1) {
                break;
            } else if (value == 2) {
                if (!data_.holds(at, 2)) break;
                const std::uint64_t step = data_[at] + std::uint64_t{data_[at + 1]} * width;
                at += 2;
                out.insert(out.end(), static_cast<std::size_t>(std::min<std::uint64_t>(full - out.size(), step)), 0);
                x = out.size() % width;
            } else {
                const std::size_t wanted = std::min<std::size_t>(full - out.size(), value);
                const Bytes read = data_.part(at, nibbles ? (wanted + 1) / 2 : wanted);
                at += read.size();
                for (std::size_t i = 0; i < read.size(); ++i) {
                    if (!nibbles) {
                        out.push_back(read[i]);
                        continue;
                    }
                    out.push_back(static_cast<std::uint8_t>(read[i] >> 4));
                    if (2 * i + 1 < wanted) out.push_back(static_cast<std::uint8_t>(read[i] & 15));
                }
                if (read.size() < (nibbles ? (wanted + 1) / 2 : wanted) || out.size() == full) break;
                x += value;
                at += at % 2;
            }
        }
        return out;
    }

    Bytes data_;
    Bytes palette_;
    std::uint64_t pixels_at_ = 0;
    unsigned bits_ = 0;
    unsigned padding_ = 4;
    std::uint32_t compression_ = kRaw;
    bool upwards_ = true;
    const char* packing_ = nullptr;
};

}  // namespace

std::unique_ptr<OpenImage> open_bmp(Bytes data) { return std::make_unique<BmpImage>(data); }

}  // namespace ghostclas
