// PBM, PGM, PPM and grey PFM: the header as Pillow reads it, over the file that netpbm.hpp makes simple.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "formats.hpp"
#include "netpbm.hpp"
#include "unpack.hpp"

namespace ghostclas {
namespace {

bool is_space(std::uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

std::string without_underscores(const std::string& word) {
    std::string plain;
    for (std::size_t i = 0; i < word.size(); ++i) {
        const auto is_digit = [&](std::size_t at) { return at < word.size() && word[at] >= '0' && word[at] <= '9'; };
        if (word[i] != '_') {
            plain += word[i];
        } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
            throw Damaged("invalid number");
        }
    }
    return plain;
}

// As Python's int() and float() read them, with one sign.
template <typename Number>
Number parsed(const std::string& word) {
    std::string plain = without_underscores(word);
    if (!plain.empty() && plain[0] == '+') {
        plain.erase(0, 1);
        if (plain.empty() || plain[0] == '-') throw Damaged("invalid number");
    }
    Number value{};
    const auto result = std::from_chars(plain.data(), plain.data() + plain.size(), value);
    if (result.ec != std::errc() || result.ptr != plain.data() + plain.size()) throw Damaged("invalid number");
    return value;
}

class PpmImage : public OpenImage {
  public:
    explicit PpmImage(Bytes data) : file_(to_binary(data, converted_)) {
        std::string magic;
        while (magic.size() < 6 && at_ < file_.size()) {
            const std::uint8_t byte = file_[at_++];
            if (is_space(byte)) break;
            magic += static_cast<char>(byte);
        }
        const std::int64_t across = parsed<std::int64_t>(token());
        const std::int64_t down = parsed<std::int64_t>(token());
        if (magic == "P1") {
            mode = Mode::bit;
            use_text(magic, across, down, 0);
        } else if (magic == "P4") {
            mode = Mode::bit;
            packing_ = "1;I";
        } else if (magic == "Pf") {
            const double scale = parsed<double>(token());
            if (scale == 0 || !std::isfinite(scale)) throw Damaged("scale must be finite and non-zero");
            mode = Mode::real;
            packing_ = scale < 0 ? "F;32F" : "F;32BF";
            upwards_ = true;
        } else if (magic == "P2" || magic == "P3" || magic == "P5" || magic == "P6") {
            const std::int64_t maximum = parsed<std::int64_t>(token());
            if (maximum <= 0 || maximum > 65535) throw Damaged("maxval must be greater than 0 and less than 65536");
            if (magic == "P2" || magic == "P3") {
                mode = magic == "P3" ? Mode::rgb : maximum > 255 ? Mode::grey32 : Mode::grey;
                use_text(magic, across, down, maximum);
            } else if (magic == "P5" && maximum == 65535) {
                mode = Mode::grey32;
                packing_ = "I;16B";
            } else if (maximum == 255) {
                mode = magic == "P5" ? Mode::grey : Mode::rgb;
                packing_ = magic == "P5" ? "L" : "RGB";
            } else {
                mode = magic == "P6" ? Mode::rgb : maximum > 255 ? Mode::grey32 : Mode::grey;
                use_text(magic, across, down, maximum);
            }
        } else {
            throw Damaged("not a PPM file");
        }
        if (across <= 0 || down <= 0) throw Damaged("not identified by this driver");
        if (across > 0xFFFFFFFF || down > 0xFFFFFFFF) {
            throw Bomb("a side of " + std::to_string(std::max(across, down)) + " pixels");
        }
        width = static_cast<std::uint32_t>(across);
        height = static_cast<std::uint32_t>(down);
    }

    Pixels load() override {
        if (run_lengths) return load_again();
        Pixels image(mode, static_cast<int>(width), static_cast<int>(height));
        unpack_rows(image, packing(packing_, mode), file_.part(at_), 0, upwards_);
        return image;
    }

  private:
    // Only a file whose header netpbm.hpp does not understand is still text here, or of another depth, and it is
    // short: it gets the header that Pillow read, and comes again.
    void use_text(const std::string& magic, std::int64_t across, std::int64_t down, std::int64_t maximum) {
        run_lengths = true;
        again_ = magic + " " + std::to_string(across) + " " + std::to_string(down) + " ";
        if (maximum > 0) again_ += std::to_string(maximum) + " ";
    }

    Pixels load_again() {
        const Bytes rest = file_.part(at_);
        again_.append(reinterpret_cast<const char*>(rest.data()), rest.size());
        PpmImage image({reinterpret_cast<const std::uint8_t*>(again_.data()), again_.size()});
        if (image.run_lengths) throw Damaged("not enough image data");
        try {
            return image.load();
        } catch (const Damaged&) {
            throw Damaged("not enough image data");
        }
    }

    std::string token() {
        std::string word;
        while (word.size() <= 10 && at_ < file_.size()) {
            const std::uint8_t byte = file_[at_++];
            if (is_space(byte)) {
                if (word.empty()) continue;
                break;
            }
            if (byte == '#') {
                while (at_ < file_.size() && file_[at_] != '\n' && file_[at_] != '\r') ++at_;
                ++at_;
                continue;
            }
            word += static_cast<char>(byte);
        }
        if (word.empty()) throw Damaged("Reached EOF while reading header");
        if (word.size() > 10) throw Damaged("Token too long in file header");
        return word;
    }

    std::vector<std::uint8_t> converted_;
    Bytes file_;
    std::size_t at_ = 0;
    std::string again_;
    const char* packing_ = "L";
    bool upwards_ = false;
};

}  // namespace

std::unique_ptr<OpenImage> open_ppm(Bytes data) { return std::make_unique<PpmImage>(data); }

}  // namespace ghostclas
