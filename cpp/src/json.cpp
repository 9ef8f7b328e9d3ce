#include "json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <unordered_set>

#include "strings.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

// Python's recursion limit is 1,000, of which its callers take some.
constexpr std::size_t max_levels = 960;
constexpr std::size_t second_max_levels = 201;
constexpr std::size_t max_digits = 4300;
constexpr std::size_t shown = 80;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Follows the scanner of CPython's _json.c, so that every refusal is at the same place for the same reason.
class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Json document() {
        if (starts_with(text_, "\xEF\xBB\xBF")) fail("Unexpected UTF-8 BOM (decode using utf-8-sig)", 0);
        skip_blanks();
        Json value = read();
        skip_blanks();
        if (at_ != text_.size()) fail("Extra data", at_);
        return value;
    }

private:
    [[noreturn]] void fail(const std::string& what, std::size_t at) const {
        const std::string_view before = text_.substr(0, at);
        const auto lines = std::count(before.begin(), before.end(), '\n');
        const std::size_t start = before.rfind('\n');
        const std::size_t column =
            length_of(start == std::string_view::npos ? before : before.substr(start + 1)) + 1;
        throw JsonProblem(what + ": line " + std::to_string(lines + 1) + " column " + std::to_string(column) +
                          " (char " + std::to_string(length_of(before)) + ")");
    }

    bool is_at(char c) const { return at_ < text_.size() && text_[at_] == c; }

    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    void skip_blanks() {
        while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    // An array or object whose end was not yet read.
    struct Level {
        bool is_object;
        std::string key;  // of the value that is read
        JsonObject fields;
        JsonArray values;

        char end() const { return is_object ? '}' : ']'; }

        void add(Json value) {
            if (is_object) {
                fields.emplace_back(std::move(key), std::move(value));
            } else {
                values.push_back(std::move(value));
            }
        }
    };

    // What lies within each other waits in `levels_` and not on the stack, which is small in some threads.
    Json read() {
        while (true) {
            std::optional<Json> value = begin_value();
            while (value) {
                if (levels_.empty()) return std::move(*value);
                levels_.back().add(std::move(*value));
                value.reset();
                skip_blanks();
                if (is_at(levels_.back().end())) {
                    value = finish_level();
                } else {
                    if (!is_at(',')) fail("Expecting ',' delimiter", at_);
                    ++at_;
                    skip_blanks();
                    if (levels_.back().is_object) read_key();
                    break;
                }
            }
        }
    }

    // Reads a value; nothing where an array or object begins whose first value is the next.
    std::optional<Json> begin_value() {
        const char c = at_ < text_.size() ? text_[at_] : '\0';
        if (c == '"') {
            ++at_;
            return Json(read_string());
        }
        if (c == '{' || c == '[') {
            if (levels_.size() >= max_levels) {
                throw JsonProblem(std::string("maximum recursion depth exceeded while decoding a JSON ") +
                                  (c == '{' ? "object" : "array") + " from a unicode string");
            }
            ++at_;
            levels_.push_back({c == '{', {}, {}, {}});
            skip_blanks();
            if (is_at(levels_.back().end())) return finish_level();
            if (c == '{') read_key();
            return std::nullopt;
        }
        if (take("null")) return Json(nullptr);
        if (take("true")) return Json(true);
        if (take("false")) return Json(false);
        for (const char* word : {"NaN", "Infinity", "-Infinity"}) {
            if (take(word)) throw JsonProblem(std::string(word) + " is no number");
        }
        return read_number();
    }

    void read_key() {
        if (!is_at('"')) fail("Expecting property name enclosed in double quotes", at_);
        ++at_;
        levels_.back().key = read_string();
        skip_blanks();
        if (!is_at(':')) fail("Expecting ':' delimiter", at_);
        ++at_;
        skip_blanks();
    }

    // Ends the innermost array or object.
    Json finish_level() {
        ++at_;
        Level level = std::move(levels_.back());
        levels_.pop_back();
        if (level.is_object) refuse_repeats(level.fields);
        // The second reading refuses the document here, and destroying a value takes stack for each of its levels.
        if (levels_.size() >= second_max_levels) {
            level.fields.clear();
            level.values.clear();
        }
        return level.is_object ? Json(std::move(level.fields)) : Json(std::move(level.values));
    }

    static void refuse_repeats(const JsonObject& fields) {
        std::unordered_set<std::string_view> seen;
        std::unordered_set<std::string_view> repeated;
        for (const auto& field : fields) {
            if (!seen.insert(field.first).second) repeated.insert(field.first);
        }
        if (repeated.empty()) return;
        for (const auto& field : fields) {
            if (repeated.count(field.first) != 0) {
                throw JsonProblem("the key " + shortened(quoted(field.first)) + " occurs twice");
            }
        }
    }

    std::string read_string() {
        const std::size_t begin = at_ - 1;
        std::string value;
        while (true) {
            std::size_t next = at_;
            while (next < text_.size() && text_[next] != '"' && text_[next] != '\\') {
                if (static_cast<unsigned char>(text_[next]) < 0x20) fail("Invalid control character at", next);
                ++next;
            }
            value += text_.substr(at_, next - at_);
            if (next == text_.size()) fail("Unterminated string starting at", begin);
            at_ = next + 1;
            if (text_[next] == '"') return value;
            if (at_ == text_.size()) fail("Unterminated string starting at", begin);
            read_escape(value);
        }
    }

    void read_escape(std::string& value) {
        constexpr std::string_view marks = "\"\\/bfnrt";
        constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
        const char c = text_[at_];
        if (c != 'u') {
            const std::size_t which = marks.find(c);
            if (which == std::string_view::npos) fail("Invalid \\escape", at_ - 1);
            value += meant[which];
            ++at_;
            return;
        }
        char32_t unit = read_unit();
        if (unit >= 0xD800 && unit < 0xDC00 && text_.substr(at_, 2) == "\\u" && at_ + 6 < text_.size()) {
            const std::size_t after = at_;
            ++at_;
            const char32_t low = read_unit();
            if (low >= 0xDC00 && low < 0xE000) {
                unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            } else {
                at_ = after;
            }
        }
        append_utf8(value, unit);
    }

    // Reads "uXXXX".
    char32_t read_unit() {
        const std::size_t mark = at_;
        if (mark + 5 >= text_.size()) fail("Invalid \\uXXXX escape", mark);
        char32_t unit = 0;
        for (at_ = mark + 1; at_ < mark + 5; ++at_) {
            const char c = text_[at_];
            const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
            if (!is_digit(c) && !(lower >= 'a' && lower <= 'f')) fail("Invalid \\uXXXX escape", mark);
            unit = unit * 16 + static_cast<char32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
        }
        return unit;
    }

    Json read_number() {
        const std::size_t begin = at_;
        const auto digits = [this](std::size_t from) {
            while (from < text_.size() && is_digit(text_[from])) ++from;
            return from;
        };
        std::size_t end = begin + (is_at('-') ? 1U : 0U);
        if (end >= text_.size() || !is_digit(text_[end])) fail("Expecting value", begin);
        end = text_[end] == '0' ? end + 1 : digits(end);
        const std::size_t whole = end;
        if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) end = digits(end + 1);
        if (end + 1 < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
            const bool has_sign = end + 2 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-');
            const std::size_t first = end + (has_sign ? 2U : 1U);
            if (digits(first) != first) end = digits(first);
        }
        at_ = end;
        std::string number(text_.substr(begin, end - begin));
        if (end == whole) {
            const std::size_t count = number.size() - (number[0] == '-' ? 1U : 0U);
            if (count > max_digits) {
                throw JsonProblem("Exceeds the limit (4300 digits) for integer string conversion: value has " +
                                  std::to_string(count) +
                                  " digits; use sys.set_int_max_str_digits() to increase the limit");
            }
            return Json(JsonInteger{number == "-0" ? "0" : std::move(number)});
        }
        double value = 0;
        const auto read = std::from_chars(number.data(), number.data() + number.size(), value);
        if (read.ec == std::errc::result_out_of_range) {
            // Too small is 0 or denormal, too large is refused.
            value = std::strtod(number.c_str(), nullptr);
        }
        if (!std::isfinite(value)) throw JsonProblem(number.substr(0, shown) + " is too large for a number");
        return Json(value);
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::vector<Level> levels_;
};

void append_ascii_string(std::string& to, std::string_view text) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view marks = "\"\\bfnrt";
    const auto unit = [&to](char32_t c) {
        std::array<char, 16> buffer{};
        std::snprintf(buffer.data(), buffer.size(), "\\u%04x", static_cast<unsigned>(c));
        to += buffer.data();
    };
    to += '"';
    for (std::size_t at = 0; at < text.size();) {
        const char32_t c = next_code_point(text, at);
        const std::size_t which = c < 0x80 ? meant.find(static_cast<char>(c)) : std::string_view::npos;
        if (which != std::string_view::npos) {
            to += '\\';
            to += marks[which];
        } else if (c >= 0x20 && c < 0x7F) {
            to += static_cast<char>(c);
        } else if (c < 0x10000) {
            unit(c);
        } else {
            unit(0xD800 + ((c - 0x10000) >> 10));
            unit(0xDC00 + ((c - 0x10000) & 0x3FF));
        }
    }
    to += '"';
}

class Printer {
public:
    Printer(const JsonStyle& style, std::string* problem) : style_(style), problem_(problem) {}

    // Prints the value; stops where the second reading would, if it is asked for.
    void print(const Json& value, std::size_t level) {
        if (stopped()) return;
        if (value.is_null()) {
            text += "null";
        } else if (const auto* flag = value.as<bool>()) {
            text += *flag ? "true" : "false";
        } else if (const auto* integer = value.as<JsonInteger>()) {
            text += integer->digits;
        } else if (const auto* real = value.as<double>()) {
            text += number(*real);
        } else if (const auto* string = value.as<std::string>()) {
            print_string(*string);
        } else if (const auto* array = value.as<JsonArray>()) {
            print_array(*array, level);
        } else {
            print_object(*value.as<JsonObject>(), level);
        }
    }

    std::string text;

private:
    bool stopped() const { return problem_ != nullptr && !problem_->empty(); }

    void stop(const std::string& why, std::size_t column) {
        *problem_ = "Invalid JSON: " + why + " at line 1 column " + std::to_string(column);
    }

    void print_string(const std::string& string) {
        const std::size_t begin = text.size();
        append_ascii_string(text, string);
        if (problem_ == nullptr) return;
        for (std::size_t at = begin; at + 5 < text.size(); ++at) {
            if (text[at] != '\\') continue;
            if (text[++at] != 'u') continue;
            const auto unit = std::strtoul(text.substr(at + 1, 4).c_str(), nullptr, 16);
            if (unit >= 0xDC00 && unit < 0xE000) return stop("lone leading surrogate in hex escape", at + 5);
            if (unit >= 0xD800 && unit < 0xDC00) {
                if (text.compare(at + 5, 1, "\\") != 0) return stop("unexpected end of hex escape", at + 6);
                if (text.compare(at + 6, 1, "u") != 0) return stop("unexpected end of hex escape", at + 7);
                const auto low = std::strtoul(text.substr(at + 7, 4).c_str(), nullptr, 16);
                if (low < 0xDC00 || low >= 0xE000) return stop("lone leading surrogate in hex escape", at + 11);
                at += 10;
            }
        }
    }

    void print_array(const JsonArray& array, std::size_t level) {
        text += '[';
        if (enter(level)) {
            bool first = true;
            for (const Json& value : array) {
                if (!first) text += style_.blanks ? ", " : ",";
                first = false;
                print(value, level + 1);
                if (stopped()) return;
            }
        }
        text += ']';
    }

    void print_object(const JsonObject& fields, std::size_t level) {
        text += '{';
        if (!enter(level)) return;
        std::vector<const JsonObject::value_type*> order;
        order.reserve(fields.size());
        for (const auto& field : fields) order.push_back(&field);
        if (style_.sorted) {
            std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return comes_before(a->first, b->first); });
        }
        bool first = true;
        for (const auto* field : order) {
            if (!first) text += style_.blanks ? ", " : ",";
            first = false;
            print_string(field->first);
            if (stopped()) return;
            text += style_.blanks ? ": " : ":";
            print(field->second, level + 1);
            if (stopped()) return;
        }
        text += '}';
    }

    bool enter(std::size_t level) {
        if (problem_ != nullptr && level >= second_max_levels) {
            stop("recursion limit exceeded", text.size());
            return false;
        }
        return true;
    }

    JsonStyle style_;
    std::string* problem_;
};

}  // namespace

const Json* Json::find(std::string_view key) const {
    if (const auto* fields = as<JsonObject>()) {
        for (const auto& field : *fields) {
            if (field.first == key) return &field.second;
        }
    }
    return nullptr;
}

Json parse_json(std::string_view text) { return Reader(text).document(); }

std::string dump_json(const Json& value, const JsonStyle& style) {
    Printer printer(style, nullptr);
    printer.print(value, 0);
    return std::move(printer.text);
}

std::string second_reading_problem(const Json& value) {
    std::string problem;
    Printer printer(JsonStyle{}, &problem);
    printer.print(value, 0);
    return problem;
}

void append_json_string(std::string& to, std::string_view text) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view marks = "\"\\bfnrt";
    to += '"';
    for (const char c : text) {
        const std::size_t which = meant.find(c);
        if (which != std::string_view::npos) {
            to += '\\';
            to += marks[which];
        } else if (static_cast<unsigned char>(c) < 0x20) {
            std::array<char, 16> buffer{};
            std::snprintf(buffer.data(), buffer.size(), "\\u%04x", static_cast<unsigned>(c));
            to += buffer.data();
        } else {
            to += c;
        }
    }
    to += '"';
}

void append_json_number(std::string& to, double value) {
    std::array<char, 64> buffer{};
    const double size = std::fabs(value);
    // As the printer of pydantic does: scientific below 1e-5 and from 1e16 on, with a bare exponent.
    if (size != 0 && (size < 1e-5 || size >= 1e16)) {
        const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
        const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
        const std::size_t mark = text.find('e');
        to += text.substr(0, mark + 1);
        if (text[mark + 1] == '-') to += '-';
        to += text.substr(std::min(text.find_first_not_of('0', mark + 2), text.size() - 1));
        return;
    }
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
    const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
    to += text;
    if (text.find('.') == std::string_view::npos) to += ".0";
}

}  // namespace ghostclas
