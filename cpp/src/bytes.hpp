// A view of a file's bytes whose reads cannot leave it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "damaged.hpp"

namespace ghostclas {

class Bytes {
  public:
    Bytes() = default;
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    const std::uint8_t* data() const { return data_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    bool holds(std::uint64_t at, std::uint64_t count) const { return at <= size_ && count <= size_ - at; }

    // Every read below throws Damaged, without a reason, outside the file.
    std::uint8_t operator[](std::uint64_t at) const { return *checked(at, 1); }
    std::uint16_t le16(std::uint64_t at) const { return static_cast<std::uint16_t>(little(at, 2)); }
    std::uint16_t be16(std::uint64_t at) const { return static_cast<std::uint16_t>(big(at, 2)); }
    std::uint32_t le32(std::uint64_t at) const { return static_cast<std::uint32_t>(little(at, 4)); }
    std::uint32_t be32(std::uint64_t at) const { return static_cast<std::uint32_t>(big(at, 4)); }

    std::uint64_t little(std::uint64_t at, unsigned count) const {
        const std::uint8_t* p = checked(at, count);
        std::uint64_t value = 0;
        for (unsigned i = count; i-- > 0;) value = value << 8 | p[i];
        return value;
    }
    std::uint64_t big(std::uint64_t at, unsigned count) const {
        const std::uint8_t* p = checked(at, count);
        std::uint64_t value = 0;
        for (unsigned i = 0; i < count; ++i) value = value << 8 | p[i];
        return value;
    }

    // What there is from `at` on, at most `count` bytes: as Python's slices.
    Bytes part(std::uint64_t at, std::uint64_t count = ~std::uint64_t{0}) const {
        if (at >= size_) return {};
        return {data_ + at, static_cast<std::size_t>(std::min<std::uint64_t>(count, size_ - at))};
    }
    bool starts_with(std::string_view prefix) const {
        return prefix.size() <= size_ && (prefix.empty() || std::memcmp(data_, prefix.data(), prefix.size()) == 0);
    }

  private:
    const std::uint8_t* checked(std::uint64_t at, std::uint64_t count) const {
        if (!holds(at, count)) throw Damaged();
        return data_ + at;
    }

    const std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ghostclas
