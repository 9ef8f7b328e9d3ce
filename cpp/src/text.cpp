#include "text.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace ghostclas {

std::string number(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    std::array<char, 64> buffer{};
    const double size = std::fabs(value);
    // Python's repr: scientific below 1e-4 and from 1e16 on.
    const auto format =
        size != 0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific : std::chars_format::fixed;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format);
    std::string text(buffer.data(), end.ptr);
    if (format == std::chars_format::fixed && text.find('.') == std::string::npos) text += ".0";
    return text;
}

std::string thousands(std::uint64_t value) {
    std::string digits = std::to_string(value);
    for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
        digits.insert(static_cast<std::size_t>(at), 1, ',');
    }
    return digits;
}

}  // namespace ghostclas
