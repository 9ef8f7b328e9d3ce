// GIF: the first frame, on a canvas that holds it, as Pillow decodes it.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "formats.hpp"
#include "unpack.hpp"

namespace ghostclas {
namespace {

constexpr int kMaxBlocks = 10'000;
constexpr std::size_t kReadAtOnce = 65536;

// ------------------------------------------------------------------ codes

// The decoder of LZW codes keeps its place, because Pillow hands it the file in parts.
class Lzw {
  public:
    Lzw(Pixels& image, int left, int top, int width, int height, unsigned bits, bool interlaced)
        : image_(image), left_(left), top_(top), width_(width), height_(height), bits_(bits),
          pass_(interlaced ? 1 : 0), step_(interlaced ? 8 : 1) {
        if (bits > kBits) throw Damaged("codec configuration error when reading image file");
        clear_ = 1U << bits;
        restart();
    }

    // Returns whether the frame is full; `used` says how much was read.
    bool decode(const std::uint8_t* data, std::size_t size, std::size_t& used) {
        const std::uint8_t* in = data;
        const std::uint8_t* const end = data + size;
        while (true) {
            while (bit_count_ < code_size_) {
                if (block_ > 0) {
                    bit_buffer_ |= std::uint32_t{*in++} << bit_count_;
                    bit_count_ += 8;
                    --block_;
                } else {
                    // A block is read when all of it is there.
                    used = static_cast<std::size_t>(in - data);
                    if (in == end || static_cast<std::size_t>(end - in) < std::size_t{*in} + 1) return false;
                    block_ = *in++;
                }
            }
            const unsigned code = bit_buffer_ & code_mask_;
            bit_buffer_ >>= code_size_;
            bit_count_ -= code_size_;
            if (code == clear_) {
                restart();
                continue;
            }
            if (code == clear_ + 1) {
                used = static_cast<std::size_t>(in - data);
                return false;
            }
            if (expand(code)) return true;
        }
    }

  private:
    static constexpr unsigned kBits = 12;
    static constexpr unsigned kTable = 1U << kBits;

    void restart() {
        next_ = clear_ + 2;
        code_size_ = bits_ + 1;
        code_mask_ = (1U << code_size_) - 1;
        fresh_ = true;
    }

    bool expand(unsigned code) {
        std::size_t place = text_.size();
        if (fresh_) {
            if (code > clear_) broken();
            last_byte_ = static_cast<std::uint8_t>(code);
            last_code_ = code;
            fresh_ = false;
            text_[--place] = last_byte_;
            return put(place);
        }
        if (code > next_) broken();
        unsigned at = code;
        if (code == next_) {
            text_[--place] = last_byte_;
            at = last_code_;
        }
        while (at >= clear_) {
            if (place == 0 || at >= kTable) broken();
            text_[--place] = bytes_[at];
            at = links_[at];
        }
        last_byte_ = static_cast<std::uint8_t>(at);
        if (next_ < kTable) {
            bytes_[next_] = last_byte_;
            links_[next_] = static_cast<std::uint16_t>(last_code_);
            if (next_ == code_mask_ && code_size_ < kBits) {
                ++code_size_;
                code_mask_ = (1U << code_size_) - 1;
            }
            ++next_;
        }
        last_code_ = code;
        // The first byte comes alone; the others follow it.
        const bool full = put_byte(last_byte_);
        return full || (place < text_.size() && put(place));
    }

    bool put(std::size_t place) {
        for (; place < text_.size(); ++place) {
            if (put_byte(text_[place])) return true;
        }
        return false;
    }

    bool put_byte(std::uint8_t value) {
        if (y_ >= height_) throw Damaged("buffer overrun when reading image file");
        image_.row(top_ + y_)[left_ + x_] = value;
        return ++x_ >= width_ && next_row();
    }

    bool next_row() {
        x_ = 0;
        y_ += step_;
        while (y_ >= height_) {
            switch (pass_) {
                case 1:
                    y_ = 4;
                    pass_ = 2;
                    break;
                case 2:
                    step_ = 4;
                    y_ = 2;
                    pass_ = 3;
                    break;
                case 3:
                    step_ = 2;
                    y_ = 1;
                    pass_ = 0;
                    break;
                default:
                    return true;
            }
        }
        return false;
    }

    [[noreturn]] static void broken() { throw Damaged("broken data stream when reading image file"); }

    Pixels& image_;
    int left_;
    int top_;
    int width_;
    int height_;
    unsigned bits_;
    int pass_;
    int step_;
    int x_ = 0;
    int y_ = 0;
    unsigned clear_ = 0;
    unsigned next_ = 0;
    unsigned code_size_ = 0;
    unsigned code_mask_ = 0;
    bool fresh_ = true;
    std::uint32_t bit_buffer_ = 0;
    unsigned bit_count_ = 0;
    unsigned block_ = 0;
    std::uint8_t last_byte_ = 0;
    unsigned last_code_ = 0;
    std::array<std::uint8_t, kTable> text_{};  // filled from its end
    std::array<std::uint8_t, kTable> bytes_{};
    std::array<std::uint16_t, kTable> links_{};
};

// ------------------------------------------------------------------ blocks

bool is_needed(Bytes colours) {
    for (std::size_t i = 0; i < colours.size(); i += 3) {
        if (i / 3 != colours[i] || colours[i] != colours[i + 1] || colours[i + 1] != colours[i + 2]) return true;
    }
    return false;
}

class GifImage : public OpenImage {
  public:
    explicit GifImage(Bytes data) : data_(data) {
        std::uint32_t canvas_width = data.le16(6);
        std::uint32_t canvas_height = data.le16(8);
        const unsigned flags = data[10];
        std::uint64_t at = 13;
        if ((flags & 0x80) != 0) {
            global_ = data.part(at, 6U << (flags & 7));
            at += 6U << (flags & 7);
        }
        at = find_frame(at);
        left_ = data.le16(at + 1);
        top_ = data.le16(at + 3);
        frame_width_ = data.le16(at + 5);
        frame_height_ = data.le16(at + 7);
        canvas_width = std::max(canvas_width, std::uint32_t{left_} + frame_width_);
        canvas_height = std::max(canvas_height, std::uint32_t{top_} + frame_height_);
        if (canvas_width > 65535 || canvas_height > 65535) throw Damaged();
        const unsigned frame_flags = data[at + 9];
        interlaced_ = (frame_flags & 64) != 0;
        at += 10;
        Bytes colours = global_;
        if ((frame_flags & 0x80) != 0) {
            colours = data.part(at, 6U << (frame_flags & 7));
            at += 6U << (frame_flags & 7);
        }
        // A palette of greys is none.
        const bool has_palette = is_needed(colours);
        if (has_palette) palette_ = colours;
        bits_ = data[at];
        codes_at_ = at + 1;
        width = canvas_width;
        height = canvas_height;
        if (width == 0 || height == 0) throw Damaged("not identified by this driver");
        mode = has_palette ? Mode::palette : Mode::grey;
        transparent = transparency_.has_value();
    }

    Pixels load() override {
        Pixels image(mode, static_cast<int>(width), static_cast<int>(height));
        for (std::size_t i = 0; i < palette_.size() / 3; ++i) {
            std::memcpy(image.palette.data() + 4 * i, palette_.data() + 3 * i, 3);
        }
        if (transparency_) {
            image.transparency = *transparency_;
            std::memset(image.bytes.data(), *transparency_, image.stride * height);
        }
        if (frame_width_ == 0 || frame_height_ == 0) throw Damaged("tile cannot extend outside image");
        Lzw lzw(image, left_, top_, frame_width_, frame_height_, bits_, interlaced_);
        std::uint64_t begin = codes_at_;
        std::uint64_t end = codes_at_;
        while (true) {
            if (end >= data_.size()) refuse_end(end > begin ? end - begin : 0);
            end = std::min<std::uint64_t>(end + kReadAtOnce, data_.size());
            std::size_t used = 0;
            if (lzw.decode(data_.data() + begin, static_cast<std::size_t>(end - begin), used)) return image;
            begin += used;
        }
    }

  private:
    std::uint64_t find_frame(std::uint64_t at) {
        for (int blocks = 1; data_[at] != ','; ++blocks) {
            if (blocks > kMaxBlocks) throw Damaged("over 10,000 blocks before its first frame");
            if (data_[at] == '!') {
                if (data_.part(at + 1, 2).starts_with("\xf9\x04")) {
                    transparency_.reset();
                    const std::uint8_t index = data_[at + 6];
                    if ((data_[at + 3] & 1) != 0) transparency_ = index;
                }
                at += 2;
                while (const unsigned size = data_[at]) at += 1 + size;
            } else if (data_[at] == ';') {
                throw Damaged();
            }
            ++at;
            if (const std::uint8_t kind = data_[at]; kind != ',' && kind != '!' && kind != ';') {
                while (at < data_.size() && data_[at] != ',' && data_[at] != '!' && data_[at] != ';') ++at;
            }
        }
        return at;
    }

    Bytes data_;
    Bytes global_;
    Bytes palette_;
    std::optional<int> transparency_;
    std::uint16_t left_ = 0;
    std::uint16_t top_ = 0;
    std::uint16_t frame_width_ = 0;
    std::uint16_t frame_height_ = 0;
    unsigned bits_ = 0;
    bool interlaced_ = false;
    std::uint64_t codes_at_ = 0;
};

}  // namespace

std::unique_ptr<OpenImage> open_gif(Bytes data) { return std::make_unique<GifImage>(data); }

}  // namespace ghostclas
