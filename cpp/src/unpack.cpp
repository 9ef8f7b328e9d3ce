#include "unpack.hpp"

#include <cstring>
#include <string>

namespace ghostclas {
namespace {

using Out = std::uint8_t*;
using In = const std::uint8_t*;

std::uint8_t flipped(std::uint8_t byte) {
    unsigned out = 0;
    for (unsigned bit = 0; bit < 8; ++bit) out |= ((byte >> bit) & 1U) << (7 - bit);
    return static_cast<std::uint8_t>(out);
}

// Pixels of 1, 2 or 4 bits. `Scale` widens a value, `Invert` exchanges black and white, `Flip` reads a byte
// from its other end.
template <unsigned Bits, unsigned Scale, bool Invert, bool Flip>
void small_bits(Out out, In in, int pixels) {
    constexpr unsigned kPerByte = 8 / Bits;
    constexpr unsigned kMask = (1U << Bits) - 1;
    for (int x = 0; x < pixels; ++x) {
        const auto place = static_cast<unsigned>(x);
        const std::uint8_t byte = Flip ? flipped(in[place / kPerByte]) : in[place / kPerByte];
        const unsigned value = (static_cast<unsigned>(byte) >> (8 - Bits - Bits * (place % kPerByte)) & kMask) * Scale;
        out[x] = static_cast<std::uint8_t>(Invert ? 255U - value : value);
    }
}

// Whole bytes: band i of a pixel is byte Order[i] of `Step` packed ones.
template <unsigned Step, unsigned... Order>
void bytes(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += Step) ((*out++ = in[Order]), ...);
}

void copy_1(Out out, In in, int pixels) { std::memcpy(out, in, static_cast<std::size_t>(pixels)); }
void copy_3(Out out, In in, int pixels) { std::memcpy(out, in, static_cast<std::size_t>(pixels) * 3); }
void copy_4(Out out, In in, int pixels) { std::memcpy(out, in, static_cast<std::size_t>(pixels) * 4); }

void inverted(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x) out[x] = static_cast<std::uint8_t>(~in[x]);
}

void flipped_bytes(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x) out[x] = flipped(in[x]);
}

void flipped_rgb(Out out, In in, int pixels) { flipped_bytes(out, in, pixels * 3); }

// 5 bits a colour, or 6 for green; widened by rounding down.
template <unsigned GreenBits>
void bgr_16(Out out, In in, int pixels) {
    constexpr unsigned kGreen = (1U << GreenBits) - 1;
    for (int x = 0; x < pixels; ++x, in += 2, out += 3) {
        const unsigned pixel = in[0] + (static_cast<unsigned>(in[1]) << 8);
        out[2] = static_cast<std::uint8_t>((pixel & 31) * 255 / 31);
        out[1] = static_cast<std::uint8_t>((pixel >> 5 & kGreen) * 255 / kGreen);
        out[0] = static_cast<std::uint8_t>((pixel >> (5 + GreenBits) & 31) * 255 / 31);
    }
}

// Colours that were multiplied by their alpha. `Part` is the bytes of a sample, `High` which of them counts.
template <unsigned Step, unsigned Part, unsigned High>
void premultiplied(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += Step, out += 4) {
        const unsigned alpha = in[3 * Part + High];
        for (unsigned band = 0; band < 3; ++band) {
            const unsigned value = in[band * Part + High];
            const unsigned plain = alpha == 0 ? 0 : alpha == 255 ? value : 255 * value / alpha;
            out[band] = static_cast<std::uint8_t>(plain > 255 ? 255 : plain);
        }
        out[3] = static_cast<std::uint8_t>(alpha);
    }
}

template <typename Value>
void put(Out& out, Value value) {
    std::memcpy(out, &value, sizeof value);
    out += sizeof value;
}

template <bool Big>
std::uint16_t word(In in) {
    return static_cast<std::uint16_t>(Big ? in[0] << 8 | in[1] : in[1] << 8 | in[0]);
}

template <bool Big>
std::uint32_t long_word(In in) {
    return Big ? static_cast<std::uint32_t>(word<true>(in)) << 16 | word<true>(in + 2)
               : static_cast<std::uint32_t>(word<false>(in + 2)) << 16 | word<false>(in);
}

template <bool Big>
void words(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += 2) put(out, word<Big>(in));
}

void flipped_words(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += 2) {
        const std::uint8_t low = flipped(in[0]);
        const std::uint8_t high = flipped(in[1]);
        put(out, static_cast<std::uint16_t>(low | high << 8));
    }
}

void words_of_12_bits(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x) {
        const In pair = in + x / 2 * 3;
        put(out, static_cast<std::uint16_t>(x % 2 == 0 ? pair[0] << 4 | pair[1] >> 4 : (pair[1] & 15) << 8 | pair[2]));
    }
}

template <bool Big>
void wide_words(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += 2) put(out, static_cast<std::int32_t>(word<Big>(in)));
}

template <bool Big>
void signed_words(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += 2) {
        put(out, static_cast<std::int32_t>(static_cast<std::int16_t>(word<Big>(in))));
    }
}

// int32 or float32: the bits are the same.
template <bool Big>
void long_words(Out out, In in, int pixels) {
    for (int x = 0; x < pixels; ++x, in += 4) put(out, long_word<Big>(in));
}

// Those that Pillow has.
constexpr Packing kPackings[] = {
    {"1", Mode::bit, 1, small_bits<1, 255, false, false>},
    {"1;I", Mode::bit, 1, small_bits<1, 255, true, false>},
    {"1;R", Mode::bit, 1, small_bits<1, 255, false, true>},
    {"1;IR", Mode::bit, 1, small_bits<1, 255, true, true>},
    {"L;2", Mode::grey, 2, small_bits<2, 85, false, false>},
    {"L;2I", Mode::grey, 2, small_bits<2, 85, true, false>},
    {"L;2R", Mode::grey, 2, small_bits<2, 85, false, true>},
    {"L;2IR", Mode::grey, 2, small_bits<2, 85, true, true>},
    {"L;4", Mode::grey, 4, small_bits<4, 17, false, false>},
    {"L;4I", Mode::grey, 4, small_bits<4, 17, true, false>},
    {"L;4R", Mode::grey, 4, small_bits<4, 17, false, true>},
    {"L;4IR", Mode::grey, 4, small_bits<4, 17, true, true>},
    {"L", Mode::grey, 8, copy_1},
    {"L;I", Mode::grey, 8, inverted},
    {"L;R", Mode::grey, 8, flipped_bytes},
    {"LX", Mode::grey, 16, bytes<2, 0>},
    {"LA", Mode::grey_alpha, 16, bytes<2, 0, 1>},
    {"La", Mode::grey_premultiplied, 16, bytes<2, 0, 1>},
    {"P;1", Mode::palette, 1, small_bits<1, 1, false, false>},
    {"P;2", Mode::palette, 2, small_bits<2, 1, false, false>},
    {"P;4", Mode::palette, 4, small_bits<4, 1, false, false>},
    {"P", Mode::palette, 8, copy_1},
    {"P;R", Mode::palette, 8, flipped_bytes},
    {"PX", Mode::palette, 16, bytes<2, 0>},
    {"PA", Mode::palette_alpha, 16, bytes<2, 0, 1>},
    {"RGB", Mode::rgb, 24, copy_3},
    {"RGB;R", Mode::rgb, 24, flipped_rgb},
    {"BGR", Mode::rgb, 24, bytes<3, 2, 1, 0>},
    {"BGR;15", Mode::rgb, 16, bgr_16<5>},
    {"BGR;16", Mode::rgb, 16, bgr_16<6>},
    {"RGBX", Mode::rgb, 32, bytes<4, 0, 1, 2>},
    {"RGBXX", Mode::rgb, 40, bytes<5, 0, 1, 2>},
    {"RGBXXX", Mode::rgb, 48, bytes<6, 0, 1, 2>},
    {"BGRX", Mode::rgb, 32, bytes<4, 2, 1, 0>},
    {"XBGR", Mode::rgb, 32, bytes<4, 3, 2, 1>},
    {"BGXR", Mode::rgb, 32, bytes<4, 3, 1, 0>},
    {"RGB;16L", Mode::rgb, 48, bytes<6, 1, 3, 5>},
    {"RGB;16B", Mode::rgb, 48, bytes<6, 0, 2, 4>},
    {"RGBX;16L", Mode::rgb, 64, bytes<8, 1, 3, 5>},
    {"RGBX;16B", Mode::rgb, 64, bytes<8, 0, 2, 4>},
    {"RGBA", Mode::rgba, 32, copy_4},
    {"RGBAX", Mode::rgba, 40, bytes<5, 0, 1, 2, 3>},
    {"RGBAXX", Mode::rgba, 48, bytes<6, 0, 1, 2, 3>},
    {"BGRA", Mode::rgba, 32, bytes<4, 2, 1, 0, 3>},
    {"ABGR", Mode::rgba, 32, bytes<4, 3, 2, 1, 0>},
    {"BGAR", Mode::rgba, 32, bytes<4, 3, 1, 0, 2>},
    {"RGBa", Mode::rgba, 32, premultiplied<4, 1, 0>},
    {"RGBaX", Mode::rgba, 40, premultiplied<5, 1, 0>},
    {"RGBaXX", Mode::rgba, 48, premultiplied<6, 1, 0>},
    {"RGBa;16L", Mode::rgba, 64, premultiplied<8, 2, 1>},
    {"RGBa;16B", Mode::rgba, 64, premultiplied<8, 2, 0>},
    {"RGBA;16L", Mode::rgba, 64, bytes<8, 1, 3, 5, 7>},
    {"RGBA;16B", Mode::rgba, 64, bytes<8, 0, 2, 4, 6>},
    {"LA;16B", Mode::rgba, 32, bytes<4, 0, 0, 0, 2>},
    {"CMYK", Mode::cmyk, 32, copy_4},
    {"CMYKX", Mode::cmyk, 40, bytes<5, 0, 1, 2, 3>},
    {"CMYKXX", Mode::cmyk, 48, bytes<6, 0, 1, 2, 3>},
    {"CMYK;16L", Mode::cmyk, 64, bytes<8, 1, 3, 5, 7>},
    {"CMYK;16B", Mode::cmyk, 64, bytes<8, 0, 2, 4, 6>},
    {"YCbCr", Mode::ycbcr, 24, copy_3},
    {"LAB", Mode::lab, 24, copy_3},
    {"I;12", Mode::grey16, 12, words_of_12_bits},
    {"I;16", Mode::grey16, 16, words<false>},
    {"I;16B", Mode::grey16, 16, words<true>},
    {"I;16R", Mode::grey16, 16, flipped_words},
    {"I;16B", Mode::grey32, 16, wide_words<true>},
    {"I;16S", Mode::grey32, 16, signed_words<false>},
    {"I;16BS", Mode::grey32, 16, signed_words<true>},
    {"I", Mode::grey32, 32, copy_4},
    {"I;32S", Mode::grey32, 32, long_words<false>},
    {"I;32BS", Mode::grey32, 32, long_words<true>},
    {"F", Mode::real, 32, copy_4},
    {"F;32F", Mode::real, 32, long_words<false>},
    {"F;32BF", Mode::real, 32, long_words<true>},
};

}  // namespace

const Packing& packing(std::string_view name, Mode mode) {
    for (const Packing& known : kPackings) {
        if (known.mode == mode && known.name == name) return known;
    }
    throw Damaged("unknown raw mode for given image mode");
}

void unpack_rows(Pixels& image, const Packing& packing, Bytes data, std::uint64_t stride, bool upwards) {
    const std::size_t bytes = packing.row_bytes(static_cast<std::uint64_t>(image.width));
    if (stride == 0) stride = bytes;
    if (data.size() == 0) refuse_end(0);
    if (stride < bytes) throw Damaged("codec configuration error when reading image file");
    std::uint64_t at = 0;
    for (int row = 0; row < image.height; ++row) {
        if (!data.holds(at, bytes)) refuse_end(at < data.size() ? data.size() - at : 0);
        packing.unpack(image.row(upwards ? image.height - 1 - row : row), data.data() + at, image.width);
        at += bytes;
        // Pillow does not step over padding that breaks off.
        if (row + 1 < image.height) {
            if (!data.holds(at, stride - bytes)) refuse_end(data.size() - at);
            at += stride - bytes;
        }
    }
}

void refuse_end(std::uint64_t left) {
    throw Damaged("image file is truncated (" + std::to_string(left) + " bytes not processed)");
}

}  // namespace ghostclas
