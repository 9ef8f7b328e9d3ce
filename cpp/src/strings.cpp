#include "strings.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

namespace ghostclas {
namespace {

constexpr std::size_t shown = 80;
#if defined(_WIN32)
constexpr bool names_are_utf_16 = true;
#else
constexpr bool names_are_utf_16 = false;
#endif

unsigned byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

// How many bytes the sequence at `at` has, as far as its first byte says; 0 for a byte that begins none.
std::size_t sequence_length(unsigned first) {
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    if (first < 0xE0) return 2;
    if (first < 0xF0) return 3;
    return first < 0xF5 ? 4 : 0;
}

// Whether `second` may follow `first`: no overlong form, no surrogate unless `surrogates`, nothing above U+10FFFF.
bool may_follow(unsigned first, unsigned second, bool surrogates) {
    const unsigned low = first == 0xE0 ? 0xA0U : first == 0xF0 ? 0x90U : 0x80U;
    const unsigned high = first == 0xED && !surrogates ? 0x9FU : first == 0xF4 ? 0x8FU : 0xBFU;
    return second >= low && second <= high;
}

bool is_hidden(char32_t c) {
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x61C || c == 0x200B || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF);
}

// What Python's repr() escapes, of the characters that Unicode has assigned.
bool is_unprintable(char32_t c) {
    constexpr std::pair<char32_t, char32_t> kRanges[] = {
        {0, 0x1F},         {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
        {0x6DD, 0x6DD},    {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x1680, 0x1680},
        {0x180E, 0x180E},  {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},   {0x3000, 0x3000},
        {0xD800, 0xF8FF},  {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD},
        {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE00FF}, {0xE01F0, 0x10FFFF},
    };
    return std::any_of(std::begin(kRanges), std::end(kRanges),
                       [c](const auto& range) { return c >= range.first && c <= range.second; });
}

bool is_space(char32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

void append_hex(std::string& text, const char* mark, unsigned value, int digits) {
    std::array<char, 16> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%0*x", digits, value);
    text += mark;
    text += buffer.data();
}

// As Python's repr() and its codec unicode_escape write a character.
void append_escaped(std::string& text, char32_t c) {
    if (c == '\n') {
        text += "\\n";
    } else if (c == '\r') {
        text += "\\r";
    } else if (c == '\t') {
        text += "\\t";
    } else if (c < 0x100) {
        append_hex(text, "\\x", c, 2);
    } else if (c < 0x10000) {
        append_hex(text, "\\u", c, 4);
    } else {
        append_hex(text, "\\U", c, 8);
    }
}

}  // namespace

char32_t next_code_point(std::string_view text, std::size_t& at) {
    const unsigned first = byte_at(text, at);
    const std::size_t length = sequence_length(first);
    if (length == 1) {
        ++at;
        return first;
    }
    bool whole = length != 0 && at + length <= text.size() && may_follow(first, byte_at(text, at + 1), true);
    for (std::size_t i = 2; whole && i < length; ++i) whole = may_follow(0, byte_at(text, at + i), true);
    if (!whole) {
        ++at;
        return 0xDC00 + first;
    }
    char32_t value = length == 2 ? first & 0x1F : length == 3 ? first & 0x0F : first & 0x07;
    for (std::size_t i = 1; i < length; ++i) value = (value << 6) | (byte_at(text, at + i) & 0x3F);
    at += length;
    return value;
}

void append_utf8(std::string& text, char32_t c) {
    const auto add = [&text](char32_t byte) { text.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
    if (c < 0x80) {
        add(c);
    } else if (c < 0x800) {
        add(0xC0 | (c >> 6));
        add(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        add(0xE0 | (c >> 12));
        add(0x80 | ((c >> 6) & 0x3F));
        add(0x80 | (c & 0x3F));
    } else {
        add(0xF0 | (c >> 18));
        add(0x80 | ((c >> 12) & 0x3F));
        add(0x80 | ((c >> 6) & 0x3F));
        add(0x80 | (c & 0x3F));
    }
}

std::size_t length_of(std::string_view text) {
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
    return count;
}

std::string_view first_of(std::string_view text, std::size_t count) {
    std::size_t at = 0;
    while (at < text.size() && count > 0) {
        next_code_point(text, at);
        --count;
    }
    return text.substr(0, at);
}

std::string quoted(std::string_view text) {
    const bool has_single = text.find('\'') != std::string_view::npos;
    const char mark = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
    std::string result(1, mark);
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const char32_t c = next_code_point(text, at);
        if (c == static_cast<unsigned char>(mark) || c == '\\') {
            result += '\\';
            result += static_cast<char>(c);
        } else if (is_unprintable(c)) {
            append_escaped(result, c);
        } else {
            result += text.substr(begin, at - begin);
        }
    }
    return result + mark;
}

std::string shortened(std::string text) {
    const std::size_t kept = first_of(text, shown).size();
    return kept == text.size() ? text : text.substr(0, kept) + "...";
}

std::string on_one_line(std::string_view text) {
    std::string result;
    bool between = false;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        if (is_space(next_code_point(text, at))) {
            between = true;
            continue;
        }
        if (between && !result.empty()) result += ' ';
        between = false;
        result += text.substr(begin, at - begin);
    }
    return result;
}

std::string valid_utf8(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const char32_t c = next_code_point(text, at);
        if (c >= 0xD800 && c <= 0xDFFF) {
            if (at - begin == 1 || names_are_utf_16) {
                append_hex(result, "\\u", c, 4);
            } else {
                // The bytes of a surrogate are no UTF-8 either, each by itself.
                for (std::size_t i = begin; i < at; ++i) append_hex(result, "\\u", 0xDC00 + byte_at(text, i), 4);
            }
        } else {
            result += text.substr(begin, at - begin);
        }
    }
    return result;
}

bool comes_before(std::string_view a, std::string_view b) {
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < a.size() && j < b.size()) {
        const char32_t x = next_code_point(a, i);
        const char32_t y = next_code_point(b, j);
        if (x != y) return x < y;
    }
    return i == a.size() && j != b.size();
}

std::string folded(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        char32_t c = next_code_point(text, at);
        if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) ||
            (c >= 0x410 && c <= 0x42F)) {
            c += 32;
        } else if (c >= 0x400 && c <= 0x40F) {
            c += 80;
        }
        append_utf8(result, c);
    }
    return result;
}

bool starts_with(std::string_view text, std::string_view part) { return text.substr(0, part.size()) == part; }

bool ends_with(std::string_view text, std::string_view part) {
    return text.size() >= part.size() && text.substr(text.size() - part.size()) == part;
}

std::string printable(std::string_view text) {
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const char32_t c = next_code_point(text, at);
        if (is_hidden(c)) {
            append_escaped(result, c);
        } else {
            result += text.substr(begin, at - begin);
        }
    }
    return result;
}

std::string printable_message(std::string_view text) {
    constexpr std::string_view continued = "       ";
    std::string result;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string line = printable(text.substr(begin, end - begin));
        if (begin != 0) {
            result += '\n';
            if (!starts_with(line, continued)) result += continued;
        }
        result += line;
        begin = end + 1;
    }
    return result;
}

std::string printable_json(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const char32_t c = next_code_point(text, at);
        if (!is_hidden(c) || c == '\n') {
            result += text.substr(begin, at - begin);
        } else if (c < 0x10000) {
            append_hex(result, "\\u", c, 4);
        } else {
            append_hex(result, "\\u", 0xD800 + ((c - 0x10000) >> 10), 4);
            append_hex(result, "\\u", 0xDC00 + ((c - 0x10000) & 0x3FF), 4);
        }
    }
    return result;
}

std::string utf8_problem(std::string_view bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
        const unsigned first = byte_at(bytes, at);
        const std::size_t length = sequence_length(first);
        if (length == 1) {
            ++at;
            continue;
        }
        std::size_t good = length == 0 ? 0 : 1;
        while (good != 0 && good < length && at + good < bytes.size() &&
               may_follow(good == 1 ? first : 0, byte_at(bytes, at + good), false)) {
            ++good;
        }
        if (length != 0 && good == length) {
            at += length;
            continue;
        }
        const bool ends = length != 0 && at + good == bytes.size();
        const char* why = length == 0 ? "invalid start byte" : ends ? "unexpected end of data" : "invalid continuation byte";
        std::string text = "'utf-8' codec can't decode ";
        if (good <= 1) {
            append_hex(text, "byte 0x", first, 2);
            text += " in position " + std::to_string(at);
        } else {
            text += "bytes in position " + std::to_string(at) + "-" + std::to_string(at + good - 1);
        }
        return text + ": " + why;
    }
    return {};
}

}  // namespace ghostclas
