// Mutates a PNG and mends the checksums of its chunks. A reader refuses a wrong one and reads no further.
#include <cstddef>
#include <cstdint>

#include <zlib.h>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t room);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room, unsigned seed);

namespace {

void mend(std::uint8_t* data, std::size_t size) {
    constexpr std::size_t signature = 8;
    // Of a chunk: its length and kind before the content, the checksum after it.
    constexpr std::size_t around = 12;
    for (std::size_t at = signature; at + around <= size;) {
        std::size_t count = 0;
        for (std::size_t byte = 0; byte < 4; ++byte) count = count << 8 | data[at + byte];
        if (count > size - at - around) return;
        const uLong crc = crc32(crc32(0, nullptr, 0), data + at + 4, static_cast<uInt>(4 + count));
        std::uint8_t* checksum = data + at + 8 + count;
        for (unsigned byte = 0; byte < 4; ++byte) checksum[byte] = static_cast<std::uint8_t>(crc >> (24 - 8 * byte));
        at += around + count;
    }
}

}  // namespace

// One mutation in four keeps its wrong checksums.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room, unsigned seed) {
    const std::size_t mutated = LLVMFuzzerMutate(data, size, room);
    if (seed % 4 != 0) mend(data, mutated);
    return mutated;
}
