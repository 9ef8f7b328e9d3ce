// What readers of formats throw for a file that they cannot read; preprocess() makes an Error of it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace ghostclas {

class Damaged : public std::runtime_error {
  public:
    // Without a reason: the content ends or breaks off unexpectedly.
    Damaged() : std::runtime_error("") {}
    // A reason that speaks of support makes the file unsupported instead of truncated.
    explicit Damaged(const std::string& reason) : std::runtime_error(reason) {}
};

// A header that promises more pixels than its decoder may begin with.
class Bomb : public std::runtime_error {
  public:
    explicit Bomb(const std::string& reason) : std::runtime_error(reason) {}
};

// A header of sides beyond 32 bits, of which no decoder is asked.
class Beyond : public std::runtime_error {
  public:
    Beyond(std::uint64_t width_, std::uint64_t height_) : std::runtime_error(""), width(width_), height(height_) {}
    std::uint64_t width;
    std::uint64_t height;
};

}  // namespace ghostclas
