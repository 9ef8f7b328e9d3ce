// Any bytes as an archive: listed, and every member that can be read is read.
#include <cstddef>
#include <cstdint>

#include "zip.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t limit = 1U << 20;
    try {
        const ghostclas::ZipMemorySource source(data, size);
        for (const ghostclas::ZipMember& member : ghostclas::list_zip(source)) {
            if (!member.is_readable()) continue;
            try {
                ghostclas::read_zip_member(source, member, limit);
            } catch (const ghostclas::ZipProblem&) {
                // The next may be whole.
            }
        }
    } catch (const ghostclas::ZipProblem&) {
        // Refused, with a sentence.
    }
    return 0;
}
