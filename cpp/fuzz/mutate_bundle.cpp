// Mutates the .zip of a bundle and mends the checksums of its members and the digest of its manifest. A reader
// refuses a wrong one and reads no further.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include "sha256.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t room);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room, unsigned seed);

namespace {

std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

std::size_t little(const std::uint8_t* from, std::size_t bytes) {
    std::size_t value = 0;
    while (bytes-- > 0) value = value << 8 | from[bytes];
    return value;
}

// The digest of a manifest of version 2: the sha256 of the manifest with zeros in its place.
void mend_manifest(std::uint8_t* data, std::size_t size) {
    constexpr std::string_view mark = "\"digest\": \"";
    constexpr std::size_t digits = 64;
    const std::size_t found = text_of(data, size).find(mark);
    if (found == std::string_view::npos || size - found < mark.size() + digits) return;
    std::uint8_t* place = data + found + mark.size();
    std::fill_n(place, digits, static_cast<std::uint8_t>('0'));
    const std::string digest = ghostclas::sha256_of(data, size);
    std::copy(digest.begin(), digest.end(), place);
}

// What a deflated member holds, as far as it can be inflated, up to 64 KiB.
std::vector<std::uint8_t> inflated(std::uint8_t* data, std::size_t size) {
    std::vector<std::uint8_t> content(std::size_t{1} << 16);
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return {};
    stream.next_in = data;
    stream.avail_in = static_cast<uInt>(size);
    stream.next_out = content.data();
    stream.avail_out = static_cast<uInt>(content.size());
    inflate(&stream, Z_FINISH);
    content.resize(stream.total_out);
    inflateEnd(&stream);
    return content;
}

uLong crc_of(const std::uint8_t* data, std::size_t size) {
    return crc32(crc32(0, nullptr, 0), data, static_cast<uInt>(size));
}

void mend(std::uint8_t* data, std::size_t size) {
    constexpr std::size_t end_size = 22;
    constexpr std::size_t entry_size = 46;
    constexpr std::size_t local_size = 30;
    const std::size_t end = text_of(data, size).rfind("PK\x05\x06");
    if (end == std::string_view::npos || size - end < end_size) return;
    for (std::size_t at = little(data + end + 16, 4); at < size && size - at >= entry_size;) {
        std::uint8_t* entry = data + at;
        at += entry_size + little(entry + 28, 2) + little(entry + 30, 2) + little(entry + 32, 2);
        const std::size_t count = little(entry + 20, 4);
        const std::size_t local = little(entry + 42, 4);
        if (local >= size || size - local < local_size) continue;
        const std::size_t begin = local + local_size + little(data + local + 26, 2) + little(data + local + 28, 2);
        if (begin > size || count > size - begin) continue;
        uLong crc = 0;
        if (little(entry + 10, 2) == 0) {
            mend_manifest(data + begin, count);
            crc = crc_of(data + begin, count);
        } else {
            const std::vector<std::uint8_t> content = inflated(data + begin, count);
            crc = crc_of(content.data(), content.size());
        }
        for (unsigned byte = 0; byte < 4; ++byte) entry[16 + byte] = static_cast<std::uint8_t>(crc >> (8 * byte));
    }
}

}  // namespace

// One mutation in four keeps its wrong checksums.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room, unsigned seed) {
    const std::size_t mutated = LLVMFuzzerMutate(data, size, room);
    if (seed % 4 != 0) mend(data, mutated);
    return mutated;
}
