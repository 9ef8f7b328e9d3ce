#include "jpeg_work.hpp"

#include <algorithm>
#include <map>

namespace ghostclas {
namespace {

constexpr int kMaxSegments = 1000;
constexpr std::uint64_t kMaxPadding = 65536;
constexpr unsigned kEnd = 0xD9;
constexpr unsigned kScan = 0xDA;
constexpr unsigned kArithmeticWeight = 10;
constexpr unsigned kBytesPerBlock = 128;

using Blocks = std::map<unsigned, std::uint64_t>;

bool is_frame(unsigned kind) { return kind >= 0xC0 && kind <= 0xCF && kind != 0xC4 && kind != 0xC8 && kind != 0xCC; }
bool is_progressive(unsigned frame) { return frame == 0xC2 || frame == 0xC6 || frame == 0xCA || frame == 0xCE; }
bool is_arithmetic(unsigned frame) { return frame >= 0xC9 && frame <= 0xCF; }
bool stands_alone(unsigned kind) { return kind == 0x01 || (kind >= 0xD0 && kind <= 0xD9); }

// The place of the next marker's first byte, or the file's size.
std::size_t next_marker(Bytes data, std::size_t at, bool in_scan) {
    while (at + 1 < data.size()) {
        const void* found = std::memchr(data.data() + at, 0xFF, data.size() - 1 - at);
        if (found == nullptr) break;
        at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - data.data());
        const unsigned kind = data.data()[at + 1];
        if (kind >= 0x01 && kind <= 0xFE && !(in_scan && kind >= 0xD0 && kind <= 0xD7)) return at;
        ++at;
    }
    return data.size();
}

Blocks blocks_of(Bytes data, std::uint64_t at) {
    const std::uint64_t height = data.be16(at + 3);
    const std::uint64_t width = data.be16(at + 5);
    const unsigned count = data[at + 7];
    std::map<unsigned, std::pair<std::uint64_t, std::uint64_t>> sampling;
    for (unsigned i = 0; i < count; ++i) {
        const unsigned factors = data[at + 9 + 3 * i];
        sampling[data[at + 8 + 3 * i]] = {std::max(factors >> 4, 1U), std::max(factors & 15U, 1U)};
    }
    std::uint64_t widest = 1;
    std::uint64_t tallest = 1;
    for (const auto& part : sampling) {
        widest = std::max(widest, part.second.first);
        tallest = std::max(tallest, part.second.second);
    }
    const std::uint64_t columns = (width + 8 * widest - 1) / (8 * widest);
    const std::uint64_t rows = (height + 8 * tallest - 1) / (8 * tallest);
    Blocks blocks;
    for (const auto& part : sampling) blocks[part.first] = columns * rows * part.second.first * part.second.second;
    return blocks;
}

}  // namespace

JpegWork jpeg_work(Bytes data) {
    JpegWork work;
    Blocks blocks;
    unsigned frame = 0;
    std::uint64_t padding = 0;
    std::size_t at = 2;
    bool ended = false;
    for (int segment = 0; segment <= kMaxSegments; ++segment) {
        const std::size_t found = next_marker(data, at, work.scans > 0);
        if (found == data.size()) {
            ended = true;
            break;
        }
        if (work.scans == 0) {
            padding += found - at;
            if (padding > kMaxPadding) throw Damaged("over 65,536 bytes of padding before its pixels");
        }
        const unsigned kind = data[found + 1];
        at = found + 2;
        if (stands_alone(kind)) {
            if (work.scans > 0 && kind == kEnd) {
                ended = true;
                break;
            }
            continue;
        }
        const std::size_t length = data.be16(at);
        if (is_frame(kind) && frame == 0) {
            frame = kind;
            blocks = blocks_of(data, at);
        } else if (kind == kScan) {
            const unsigned count = data[at + 2];
            ++work.scans;
            const unsigned weight = is_arithmetic(frame) ? kArithmeticWeight : 1;
            unsigned parts = 0;
            for (unsigned i = 0; i < count && data.holds(at + 3 + 2 * i, 1); ++i, ++parts) {
                const auto block = blocks.find(data[at + 3 + 2 * i]);
                if (block != blocks.end()) work.scanned_blocks += weight * block->second;
            }
            if (!is_progressive(frame) && parts >= blocks.size() && work.scans == 1) {
                return {0, 1, weight > 1 ? work.scanned_blocks : 0};
            }
        }
        at += length;
    }
    if (!ended) throw Damaged("over 1,000 segments");
    for (const auto& block : blocks) work.kept_bytes += block.second * kBytesPerBlock;
    return work;
}

}  // namespace ghostclas
