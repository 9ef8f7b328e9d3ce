// Any bytes as the .zip of a bundle: opened, and every file of it verified.
#include <cstddef>
#include <cstdint>

#include "bundle.hpp"
#include "ghostclas/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        ghostclas::Bundle("fuzzed.zip", ghostclas::open_archive("fuzzed.zip", data, size)).check();
    } catch (const ghostclas::Error&) {
        // Refused, with a sentence.
    }
    return 0;
}
