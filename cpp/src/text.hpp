// Numbers in messages, as Python writes them.
#pragma once

#include <cstdint>
#include <string>

namespace ghostclas {

std::string number(double value);          // 0.1, 1e-07, nan: the shortest digits that read back
std::string thousands(std::uint64_t value);  // 1,234,567
std::string thousands_of_product(std::uint64_t a, std::uint64_t b);  // which may have 128 bits

}  // namespace ghostclas
