#include "netpbm.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

namespace ghostclas {
namespace {

constexpr std::size_t kShort = 1024;
constexpr std::uint64_t kByte = 255;
constexpr std::uint64_t kWord = 65535;

bool is_space(std::uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }
bool is_digit(std::uint8_t byte) { return byte >= '0' && byte <= '9'; }
bool is_line_end(std::uint8_t byte) { return byte == '\r' || byte == '\n'; }

class Scanner {
  public:
    Scanner(Bytes data, std::size_t at) : data_(data), at_(at) {}

    std::size_t at() const { return at_; }

    // White space and whole comments, at least one of them.
    bool gap() {
        const std::size_t start = at_;
        while (at_ < data_.size()) {
            if (is_space(data_.data()[at_])) {
                ++at_;
                continue;
            }
            if (data_.data()[at_] != '#') break;
            std::size_t end = at_;
            while (end < data_.size() && !is_line_end(data_.data()[end])) ++end;
            if (end == data_.size()) break;
            at_ = end + 1;
        }
        return at_ > start;
    }

    // At most ten digits.
    std::optional<std::uint64_t> number() {
        const std::size_t start = at_;
        std::uint64_t value = 0;
        while (at_ < data_.size() && at_ - start < 10 && is_digit(data_.data()[at_])) {
            value = value * 10 + static_cast<std::uint64_t>(data_.data()[at_++] - '0');
        }
        if (at_ == start) return std::nullopt;
        return value;
    }

    Bytes word() {
        const std::size_t start = at_;
        while (at_ < data_.size() && at_ - start < 10 && !is_space(data_.data()[at_]) && data_.data()[at_] != '#') {
            ++at_;
        }
        return data_.part(start, at_ - start);
    }

  private:
    Bytes data_;
    std::size_t at_;
};

void append(std::vector<std::uint8_t>& out, const std::string& text) { out.insert(out.end(), text.begin(), text.end()); }
void append(std::vector<std::uint8_t>& out, Bytes part) { out.insert(out.end(), part.data(), part.data() + part.size()); }

Bytes view(const std::vector<std::uint8_t>& bytes) { return {bytes.data(), bytes.size()}; }

std::vector<std::uint8_t> without_comments(Bytes text) {
    std::vector<std::uint8_t> out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.data()[i] != '#') {
            out.push_back(text.data()[i]);
            continue;
        }
        while (i < text.size() && !is_line_end(text.data()[i])) ++i;
    }
    return out;
}

void append_head(std::vector<std::uint8_t>& out, unsigned kind, std::uint64_t width, std::uint64_t height,
                 std::uint64_t maximum) {
    append(out, "P" + std::to_string(kind) + " " + std::to_string(width) + " " + std::to_string(height) + " ");
    if (maximum > 1) append(out, std::to_string(maximum) + " ");
}

void append_bits(std::vector<std::uint8_t>& out, Bytes text, std::uint64_t width, std::uint64_t height) {
    const std::vector<std::uint8_t> plain = without_comments(text);
    std::uint64_t column = 0;
    std::uint64_t left = width * height;
    unsigned byte = 0;
    std::size_t row_start = out.size();
    for (const std::uint8_t digit : plain) {
        if (is_space(digit)) continue;
        if (left == 0) break;
        if (digit != '0' && digit != '1') throw Damaged("a bit is neither 0 nor 1");
        --left;
        byte |= (digit == '1' ? 128U : 0U) >> (column % 8);
        ++column;
        if (column % 8 == 0 || column == width) {
            out.push_back(static_cast<std::uint8_t>(byte));
            byte = 0;
        }
        if (column == width) {
            column = 0;
            row_start = out.size();
        }
    }
    // A row that breaks off is left out.
    out.resize(row_start);
}

// Returns round(sample / maximum * top), at most `top`, for every sample that there may be.
std::vector<std::uint16_t> scale_table(std::uint64_t maximum, std::uint64_t top) {
    std::vector<std::uint16_t> table((maximum > kByte ? kWord : kByte) + 1);
    for (std::size_t i = 0; i < table.size(); ++i) {
        const double scaled = std::nearbyint(static_cast<double>(i) / static_cast<double>(maximum) * static_cast<double>(top));
        table[i] = static_cast<std::uint16_t>(std::min(scaled, static_cast<double>(top)));
    }
    return table;
}

class SampleWriter {
  public:
    SampleWriter(std::vector<std::uint8_t>& out, std::uint64_t maximum, std::uint64_t top)
        : out_(out), table_(scale_table(maximum, top)), wide_(top == kWord) {}

    void put(std::uint64_t sample) {
        const unsigned value = table_[static_cast<std::size_t>(sample)];
        if (wide_) out_.push_back(static_cast<std::uint8_t>(value >> 8));
        out_.push_back(static_cast<std::uint8_t>(value));
    }

  private:
    std::vector<std::uint8_t>& out_;
    std::vector<std::uint16_t> table_;
    bool wide_;
};

void append_numbers(std::vector<std::uint8_t>& out, Bytes text, std::uint64_t count, std::uint64_t maximum,
                    std::uint64_t top) {
    const std::vector<std::uint8_t> plain = without_comments(text);
    SampleWriter writer(out, maximum, top);
    std::uint64_t largest = 0;
    std::size_t at = 0;
    while (at < plain.size() && count > 0) {
        if (is_space(plain[at])) {
            ++at;
            continue;
        }
        std::uint64_t value = 0;
        std::size_t end = at;
        while (end < plain.size() && is_digit(plain[end]) && end - at <= 10) {
            value = value * 10 + static_cast<std::uint64_t>(plain[end++] - '0');
        }
        if (end == at || end - at > 10) throw Damaged("a sample is no number of at most 10 digits");
        largest = std::max(largest, value);
        if (value <= maximum) writer.put(value);
        --count;
        at = end;
    }
    if (largest > maximum) {
        throw Damaged("a sample is " + std::to_string(largest) + ", the maximum is " + std::to_string(maximum));
    }
}

void append_words(std::vector<std::uint8_t>& out, Bytes data, std::uint64_t count, std::uint64_t maximum,
                  std::uint64_t top) {
    const unsigned size = maximum > kByte ? 2 : 1;
    SampleWriter writer(out, maximum, top);
    count = std::min<std::uint64_t>(count, data.size() / size);
    for (std::uint64_t i = 0; i < count; ++i) writer.put(data.big(i * size, size));
}

Bytes float_file(Bytes data, std::vector<std::uint8_t>& converted) {
    Scanner scanner(data, 2);
    std::array<Bytes, 3> words;
    for (Bytes& word : words) {
        if (!scanner.gap()) return data.part(0, kShort);
        word = scanner.word();
        if (word.empty()) return data.part(0, kShort);
    }
    const std::size_t end = scanner.at();
    if (end >= data.size() || !is_space(data[end])) return data.part(0, kShort);
    if (end + 1 <= kShort) return data;
    append(converted, "Pf ");
    for (const Bytes& word : words) {
        append(converted, word);
        converted.push_back(' ');
    }
    append(converted, data.part(end + 1));
    return view(converted);
}

}  // namespace

Bytes to_binary(Bytes data, std::vector<std::uint8_t>& converted) {
    if (data.starts_with("Pf")) return float_file(data, converted);
    const Bytes bad = data.part(0, kShort);
    const unsigned kind = data[1] - static_cast<unsigned>('0');
    Scanner scanner(data, 2);
    std::array<std::uint64_t, 2> size{};
    for (std::uint64_t& side : size) {
        if (!scanner.gap()) return bad;
        const auto number = scanner.number();
        if (!number) return bad;
        side = *number;
    }
    const auto [width, height] = size;
    std::uint64_t maximum = 1;
    const bool is_bitmap = kind == 1 || kind == 4;
    if (!is_bitmap) {
        if (!scanner.gap()) return bad;
        const auto number = scanner.number();
        if (!number || *number == 0 || *number > kWord) return bad;
        maximum = *number;
    }
    const std::size_t at = scanner.at();
    // Ten digits each: the product stays below 2^64 only where an image could be read at all.
    if (at >= data.size() || !is_space(data[at]) || width == 0 || height == 0) return data.part(0, std::min(at, kShort));
    const std::size_t start = at + 1;
    const bool is_text = kind <= 3;
    const bool is_colour = kind == 3 || kind == 6;
    if (kind == 4 || (!is_text && (maximum == kByte || (!is_colour && maximum == kWord)))) {
        if (start <= kShort) return data;
        append_head(converted, kind, width, height, is_bitmap ? 1 : maximum);
        append(converted, data.part(start));
        return view(converted);
    }
    const std::uint64_t limit = ~std::uint64_t{0} / 4;
    const std::uint64_t pixels = width > limit / height ? limit / 3 : width * height;
    if (kind == 1) {
        append_head(converted, 4, width, height, 1);
        append_bits(converted, data.part(start), width, height > pixels / width ? pixels / width : height);
        return view(converted);
    }
    const std::uint64_t top = is_colour || maximum <= kByte ? kByte : kWord;
    append_head(converted, is_colour ? 6 : 5, width, height, top);
    const std::uint64_t count = pixels * (is_colour ? 3 : 1);
    if (is_text) {
        append_numbers(converted, data.part(start), count, maximum, top);
    } else {
        append_words(converted, data.part(start), count, maximum, top);
    }
    return view(converted);
}

}  // namespace ghostclas
