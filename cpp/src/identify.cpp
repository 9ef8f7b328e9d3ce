#include "identify.hpp"

#include <optional>
#include <string_view>

#include "ghostclas/error.hpp"

namespace ghostclas {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kHead = 256;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool at(std::string_view head, std::size_t place, std::string_view word) {
    return head.size() >= place && head.substr(place, word.size()) == word;
}

bool is_brand(std::string_view head, std::size_t place) { return at(head, place, "avif") || at(head, place, "avis"); }

bool is_container_brand(std::string_view head) { return at(head, 8, "mif1") || at(head, 8, "msf1"); }

bool is_avif(std::string_view head) {
    if (!at(head, 4, "ftyp")) return false;
    if (is_brand(head, 8)) return true;
    if (!is_container_brand(head)) return false;
    for (std::size_t place = 12; place <= 12 + 40; ++place) {
        if (is_brand(head, place)) return true;
    }
    return false;
}

bool is_svg(std::string_view head) {
    std::size_t start = 0;
    while (start < head.size() && is_space(head[start])) ++start;
    if (at(head, start, "<svg")) return true;
    if (!at(head, start, "<?xml")) return false;
    const std::size_t found = head.find("<svg", start + 5);
    return found != std::string_view::npos && found - (start + 5) <= 200;
}

std::optional<Format> known(std::string_view head) {
    if (at(head, 0, "\xff\xd8\xff")) return Format::jpeg;
    if (at(head, 0, "\x89PNG\r\n\x1a\n")) return Format::png;
    if (at(head, 0, "RIFF") && at(head, 8, "WEBP")) return Format::webp;
    if (at(head, 0, "GIF87a") || at(head, 0, "GIF89a")) return Format::gif;
    if (at(head, 0, "II*\0"sv) || at(head, 0, "II+\0"sv) || at(head, 0, "MM\0*"sv) || at(head, 0, "MM\0+"sv)) {
        return Format::tiff;
    }
    if (is_avif(head)) return Format::avif;
    if (at(head, 0, "BM")) return Format::bmp;
    if (head.size() >= 3 && head[0] == 'P' && ((head[1] >= '1' && head[1] <= '6') || head[1] == 'f') &&
        (is_space(head[2]) || head[2] == '#')) {
        return Format::ppm;
    }
    return std::nullopt;
}

const char* other(std::string_view head) {
    if (at(head, 4, "ftyp")) {
        return at(head, 8, "hei") || at(head, 8, "hev") || is_container_brand(head) ? "HEIC" : "video";
    }
    if (at(head, 0, "\x1a"
                    "E\xdf\xa3") ||
        (at(head, 0, "RIFF") && at(head, 8, "AVI "))) {
        return "video";
    }
    if (at(head, 0, "\0\0\0\x0cjP  "sv) || at(head, 0, "\xff\x4f\xff\x51")) return "JPEG 2000";
    if (at(head, 0, "\xff\x0a") || at(head, 0, "\0\0\0\x0cJXL "sv)) return "JPEG XL";
    if (at(head, 0, "8BPS")) return "PSD";
    if (at(head, 0, "%!PS") || at(head, 0, "\xc5\xd0\xd3\xc6")) return "PostScript";
    if (at(head, 0, "%PDF")) return "PDF";
    if (is_svg(head)) return "SVG";
    if (at(head, 0, "\0\0\1\0"sv) || at(head, 0, "\0\0\2\0"sv)) return "icon";
    return nullptr;
}

}  // namespace

const char* format_name(Format format) {
    switch (format) {
        case Format::jpeg: return "JPEG";
        case Format::png: return "PNG";
        case Format::webp: return "WebP";
        case Format::gif: return "GIF";
        case Format::bmp: return "BMP";
        case Format::tiff: return "TIFF";
        case Format::ppm: return "PPM";
        case Format::avif: return "AVIF";
    }
    return "";
}

Format identify(const std::string& name, Bytes data) {
    if (data.empty()) throw Error(Kind::data, "empty", name + " is empty (0 bytes)");
    std::string head;
    const Bytes first = data.part(0, kHead);
    head.reserve(first.size());
    for (std::size_t i = 0; i < first.size(); ++i) head.push_back(static_cast<char>(first.data()[i]));
    if (const auto format = known(head)) return *format;
    if (const char* kind = other(head)) {
        throw Error(Kind::data, "unsupported",
                    name + " holds " + kind + " data, which is not read; save it as JPEG or PNG");
    }
    refuse_not_an_image(name);
}

void refuse_not_an_image(const std::string& name) {
    throw Error(Kind::data, "not_an_image",
                name + " is not an image: its content is none of JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF");
}

}  // namespace ghostclas
