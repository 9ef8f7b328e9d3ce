#include "image.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "ghostclas/error.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

constexpr std::uint8_t kWhite = 255;

unsigned rounded_255(unsigned value) {
    // value / 255, rounded, for value up to 255 * 255.
    const unsigned half = value + 128;
    return ((half >> 8) + half) >> 8;
}

std::uint8_t over_white(std::uint8_t colour, std::uint8_t alpha) {
    return static_cast<std::uint8_t>(rounded_255(255U * (255U - alpha) + static_cast<unsigned>(colour) * alpha));
}

void put_over_white(std::uint8_t* out, const std::uint8_t* rgb, std::uint8_t alpha) {
    for (int band = 0; band < 3; ++band) out[band] = over_white(rgb[band], alpha);
}

template <typename Convert>
Pixels each_pixel(const Pixels& image, Convert convert) {
    Pixels rgb(Mode::rgb, image.width, image.height);
    const int step = pixel_bytes(image.mode);
    for (int y = 0; y < image.height; ++y) {
        const std::uint8_t* in = image.row(y);
        std::uint8_t* out = rgb.row(y);
        for (int x = 0; x < image.width; ++x, in += step, out += 3) convert(out, in);
    }
    return rgb;
}

void put_grey(std::uint8_t* out, std::uint8_t value) { out[0] = out[1] = out[2] = value; }

void put_cmyk(std::uint8_t* out, const std::uint8_t* in) {
    const unsigned light = 255U - in[3];
    for (int band = 0; band < 3; ++band) {
        out[band] = static_cast<std::uint8_t>(light - std::min(light, rounded_255(in[band] * light)));
    }
}

std::uint8_t clipped(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

// JFIF's full-range YCbCr with six bits after the point, each product cut behind 0.5.
void put_ycbcr(std::uint8_t* out, const std::uint8_t* in) {
    const auto part = [](double factor, int value) {
        return static_cast<int>(factor * 64 * (value - 128) + 0.5);
    };
    const int y = in[0];
    const int cb = in[1];
    const int cr = in[2];
    out[0] = clipped(y + (part(1.40200, cr) >> 6));
    out[1] = clipped(y + ((part(-0.34414, cb) + part(-0.71414, cr)) >> 6));
    out[2] = clipped(y + (part(1.77200, cb) >> 6));
}

// ------------------------------------------------------------------ deep grey

constexpr double kSpans[] = {1.0, 255.0, 65535.0};
constexpr double kOvershoot = 0.5;

[[noreturn]] void refuse_greys(const std::string& name, const std::string& low, const std::string& high, double span) {
    throw Error(Kind::data, "unsupported",
                name + " has grey values from " + low + " to " + high + ", outside 0 to " +
                    std::to_string(static_cast<int>(span)) + "; save it as 8 bit");
}

template <typename Value>
Value value_at(const std::uint8_t* row, int x) {
    Value value;
    std::memcpy(&value, row + static_cast<std::size_t>(x) * sizeof(Value), sizeof(Value));
    return value;
}

template <typename Value, typename Convert>
Pixels deep_grey(const Pixels& image, Convert convert) {
    const int* transparent = std::get_if<int>(&image.transparency);
    Pixels rgb(Mode::rgb, image.width, image.height);
    for (int y = 0; y < image.height; ++y) {
        std::uint8_t* out = rgb.row(y);
        for (int x = 0; x < image.width; ++x, out += 3) {
            const Value value = value_at<Value>(image.row(y), x);
            const bool hidden = transparent != nullptr && value == static_cast<Value>(*transparent);
            put_grey(out, hidden ? kWhite : convert(value));
        }
    }
    return rgb;
}

template <typename Value>
Pixels integers_to_rgb(const std::string& name, const Pixels& image) {
    Value low = std::numeric_limits<Value>::max();
    Value high = std::numeric_limits<Value>::lowest();
    for (int y = 0; y < image.height; ++y) {
        for (int x = 0; x < image.width; ++x) {
            const Value value = value_at<Value>(image.row(y), x);
            low = std::min(low, value);
            high = std::max(high, value);
        }
    }
    if (low < 0 || high > 65535) refuse_greys(name, std::to_string(low), std::to_string(high), 65535);
    return deep_grey<Value>(image, [](Value value) {
        return static_cast<std::uint8_t>((static_cast<unsigned>(value) + 128) / 257);
    });
}

Pixels reals_to_rgb(const std::string& name, const Pixels& image) {
    float low = std::numeric_limits<float>::infinity();
    float high = -low;
    for (int y = 0; y < image.height; ++y) {
        for (int x = 0; x < image.width; ++x) {
            const float value = value_at<float>(image.row(y), x);
            if (std::isnan(value)) refuse_greys(name, "nan", "nan", 65535);
            low = std::min(low, value);
            high = std::max(high, value);
        }
    }
    double span = 65535.0;
    for (const double candidate : kSpans) {
        if (static_cast<double>(high) <= (1 + kOvershoot) * candidate) {
            span = candidate;
            break;
        }
    }
    const double overshoot = kOvershoot * span;
    if (!(-overshoot <= static_cast<double>(low) && static_cast<double>(high) <= 65535 + overshoot)) {
        refuse_greys(name, number(static_cast<double>(low)), number(static_cast<double>(high)), span);
    }
    const float top = static_cast<float>(span);
    const float factor = static_cast<float>(255.0 / span);
    return deep_grey<float>(image, [top, factor](float value) {
        return static_cast<std::uint8_t>(std::nearbyint(std::clamp(value, 0.0F, top) * factor));
    });
}

// ------------------------------------------------------------------ palettes

Palette with_alphas(const Pixels& image) {
    Palette palette = image.palette;
    if (const int* index = std::get_if<int>(&image.transparency)) {
        if (*index > 255) throw Damaged("image index out of range");
        palette[static_cast<std::size_t>(*index) * 4 + 3] = 0;
    } else if (const auto* alphas = std::get_if<std::vector<std::uint8_t>>(&image.transparency)) {
        if (alphas->size() > 256) throw Damaged("image index out of range");
        for (std::size_t i = 0; i < alphas->size(); ++i) palette[i * 4 + 3] = (*alphas)[i];
    }
    return palette;
}

template <typename Key>
Key key_of(const Pixels& image) {
    const Key* key = std::get_if<Key>(&image.transparency);
    if (key == nullptr) throw Damaged("its transparency is of another mode");
    return *key;
}

// Grey or colour with one value that is transparent; Pillow compares the low eight bits.
Pixels keyed_to_rgb(const Pixels& image, std::array<int, 3> key) {
    const bool grey = image.mode != Mode::rgb;
    return each_pixel(image, [grey, key](std::uint8_t* out, const std::uint8_t* in) {
        bool hidden = true;
        for (std::size_t band = 0; band < 3; ++band) {
            out[band] = in[grey ? 0 : band];
            hidden = hidden && out[band] == (key[band] & 0xFF);
        }
        if (hidden) put_grey(out, kWhite);
    });
}

}  // namespace

int pixel_bytes(Mode mode) {
    switch (mode) {
        case Mode::bit:
        case Mode::grey:
        case Mode::palette:
            return 1;
        case Mode::grey_alpha:
        case Mode::grey_premultiplied:
        case Mode::palette_alpha:
        case Mode::grey16:
            return 2;
        case Mode::rgb:
        case Mode::ycbcr:
        case Mode::lab:
            return 3;
        case Mode::rgba:
        case Mode::cmyk:
        case Mode::grey32:
        case Mode::real:
            return 4;
    }
    return 4;
}

Buffer::Buffer(std::size_t size) : data_(static_cast<std::uint8_t*>(std::calloc(std::max<std::size_t>(size, 1), 1))) {
    if (!data_) throw std::bad_alloc();
}

void Buffer::Free::operator()(std::uint8_t* data) const { std::free(data); }

Pixels::Pixels(Mode mode_, int width_, int height_)
    : mode(mode_),
      width(width_),
      height(height_),
      stride(static_cast<std::size_t>(width_) * static_cast<std::size_t>(pixel_bytes(mode_))),
      bytes(stride * static_cast<std::size_t>(height_)) {
    for (std::size_t i = 0; i < 256; ++i) palette[i * 4 + 3] = 255;
}

Pixels to_rgb(const std::string& name, Pixels image) {
    const bool keyed = !std::holds_alternative<std::monostate>(image.transparency);
    switch (image.mode) {
        case Mode::real:
            return reals_to_rgb(name, image);
        case Mode::grey32:
            return integers_to_rgb<std::int32_t>(name, image);
        case Mode::grey16:
            return integers_to_rgb<std::uint16_t>(name, image);
        case Mode::palette: {
            const Palette palette = with_alphas(image);
            return each_pixel(image, [&palette](std::uint8_t* out, const std::uint8_t* in) {
                const std::uint8_t* colour = palette.data() + static_cast<std::size_t>(*in) * 4;
                put_over_white(out, colour, colour[3]);
            });
        }
        case Mode::palette_alpha:
            return each_pixel(image, [&image](std::uint8_t* out, const std::uint8_t* in) {
                put_over_white(out, image.palette.data() + static_cast<std::size_t>(*in) * 4, in[1]);
            });
        case Mode::rgba:
            return each_pixel(image, [](std::uint8_t* out, const std::uint8_t* in) { put_over_white(out, in, in[3]); });
        case Mode::grey_alpha:
            return each_pixel(image, [](std::uint8_t* out, const std::uint8_t* in) {
                put_grey(out, over_white(in[0], in[1]));
            });
        case Mode::grey_premultiplied:
            return each_pixel(image, [](std::uint8_t* out, const std::uint8_t* in) {
                const unsigned alpha = in[1];
                const unsigned plain = alpha == 0 || alpha == 255 ? in[0] : std::min(255U * in[0] / alpha, 255U);
                put_grey(out, over_white(static_cast<std::uint8_t>(plain), in[1]));
            });
        case Mode::cmyk:
            return each_pixel(image, put_cmyk);
        case Mode::ycbcr:
            return each_pixel(image, put_ycbcr);
        case Mode::lab:
            // Python converts them by LittleCMS.
            throw Error(Kind::data, "unsupported",
                        name + " holds TIFF data in LAB colours, which the C++ engine does not convert; save it as PNG");
        case Mode::bit:
        case Mode::grey:
            if (keyed) {
                const int value = key_of<int>(image);
                return keyed_to_rgb(image, {value, value, value});
            }
            return each_pixel(image, [](std::uint8_t* out, const std::uint8_t* in) { put_grey(out, *in); });
        case Mode::rgb:
            if (keyed) return keyed_to_rgb(image, key_of<std::array<int, 3>>(image));
            return image;
    }
    return image;
}

Pixels upright(Pixels image, int orientation) {
    if (orientation < 2 || orientation > 8) return image;
    const bool across = orientation >= 5;
    const int width = across ? image.height : image.width;
    const int height = across ? image.width : image.height;
    Pixels turned(Mode::rgb, width, height);
    // Where the first pixel of the result lies, and the steps to its right and below.
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const auto row = static_cast<std::ptrdiff_t>(image.stride);
    const std::ptrdiff_t step_x = from_right ? -3 : 3;
    const std::ptrdiff_t step_y = from_bottom ? -row : row;
    const std::uint8_t* first = image.row(from_bottom ? image.height - 1 : 0) + (from_right ? 3 * (image.width - 1) : 0);
    const std::ptrdiff_t right = across ? step_y : step_x;
    const std::ptrdiff_t down = across ? step_x : step_y;
    // Squares keep both images in the cache.
    constexpr int kSquare = 64;
    for (int top = 0; top < height; top += kSquare) {
        for (int left = 0; left < width; left += kSquare) {
            for (int y = top; y < std::min(top + kSquare, height); ++y) {
                std::uint8_t* out = turned.row(y) + static_cast<std::size_t>(left) * 3;
                const std::uint8_t* in = first + down * y + right * left;
                for (int x = left; x < std::min(left + kSquare, width); ++x, in += right, out += 3) {
                    out[0] = in[0];
                    out[1] = in[1];
                    out[2] = in[2];
                }
            }
        }
    }
    return turned;
}

}  // namespace ghostclas
