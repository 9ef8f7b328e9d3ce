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
    if (choice % 32 >= 24) {
        const bool is_pillow = choice % 2 == 0;
        spec.library = is_pillow ? ghostclas::ResizeLibrary::pillow : ghostclas::ResizeLibrary::opencv;
        spec.antialias = is_pillow;
        spec.interpolation = ghostclas::Interpolation::bilinear;
        // Stretched, or scaled as far as a manifest may ask for.
        if (choice % 4 < 2) spec.width = spec.short_side, spec.height = 50;
        if (choice % 8 >= 6) spec.short_side = 8192, spec.width = spec.height = 0;
    }
    std::vector<std::uint8_t> out(32 * 32 * 3);
    try {
        ghostclas::preprocess("fuzz", data, size, spec, out.data());
    } catch (const ghostclas::Error& error) {
        const std::string& code = error.code();
        if (code != "truncated" && code != "too_large" && code != "unsupported" && code != "not_an_image") std::abort();
    }
    return 0;
}
