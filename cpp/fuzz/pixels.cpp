// Fuzzes one decoder and what follows it. GHOSTCLAS_FUZZ_FORMAT names the format; other files are passed over.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "ghostclas/error.hpp"
#include "identify.hpp"
#include "pixels.hpp"

namespace {

constexpr ghostclas::Format kFormat = ghostclas::Format::GHOSTCLAS_FUZZ_FORMAT;
// A file of a few bytes may promise many pixels, which take their time to be made.
constexpr std::size_t kLongest = 1 << 17;

bool is_of_format(const std::uint8_t* data, std::size_t size) {
    try {
        return ghostclas::identify("", {data, size}) == kFormat;
    } catch (const ghostclas::Error&) {
        return false;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0 || size > kLongest || !is_of_format(data, size)) return -1;
    ghostclas::PreprocessSpec spec;
    spec.short_side = 40;
    spec.crop = 32;
    // The last byte chooses the settings: decoders scale for some of them.
    const unsigned choice = data[size - 1];
    spec.interpolation = static_cast<ghostclas::Interpolation>(choice % 4);
    spec.antialias = choice % 4 == 3 || choice % 8 < 4;
    std::vector<std::uint8_t> out(32 * 32 * 3);
    try {
        ghostclas::preprocess("fuzz", data, size, spec, out.data());
    } catch (const ghostclas::Error& error) {
        const std::string& code = error.code();
        if (code != "truncated" && code != "too_large" && code != "unsupported" && code != "not_an_image") std::abort();
    }
    return 0;
}
