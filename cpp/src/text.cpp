#include "text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

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

namespace {

std::string grouped(std::string digits) {
    for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
        digits.insert(static_cast<std::size_t>(at), 1, ',');
    }
    return digits;
}

}  // namespace

std::string thousands(std::uint64_t value) { return grouped(std::to_string(value)); }

std::string thousands_of_product(std::uint64_t a, std::uint64_t b) {
    const std::string x = std::to_string(a);
    const std::string y = std::to_string(b);
    std::vector<int> sums(x.size() + y.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        for (std::size_t j = 0; j < y.size(); ++j) sums[i + j + 1] += (x[i] - '0') * (y[j] - '0');
    }
    std::string digits(sums.size(), '0');
    for (std::size_t at = sums.size(); at-- > 0;) {
        digits[at] = static_cast<char>('0' + sums[at] % 10);
        if (at > 0) sums[at - 1] += sums[at] / 10;
    }
    return grouped(digits.substr(std::min(digits.find_first_not_of('0'), digits.size() - 1)));
}

}  // namespace ghostclas
