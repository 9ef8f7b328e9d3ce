// A C interface to the pixels and the scores, for the tests alone: Python compares both in one process.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "ghostclas/error.hpp"
#include "pixels.hpp"
#include "scores.hpp"

#if defined(_WIN32)
#define GHOSTCLAS_TEST_API extern "C" __declspec(dllexport)
#else
#define GHOSTCLAS_TEST_API extern "C" __attribute__((visibility("default")))
#endif

namespace {

// Returns 0, or 1 with the code, a line's end and the message in `text`.
template <typename Work>
int guarded(char* text, std::size_t room, Work work) {
    std::string said;
    try {
        work();
        return 0;
    } catch (const ghostclas::Error& error) {
        said = error.code() + "\n" + error.what();
    } catch (const std::exception& error) {
        said = std::string("unexpected\n") + error.what();
    }
    const std::size_t size = std::min(said.size(), room - 1);
    std::memcpy(text, said.data(), size);
    text[size] = '\0';
    return 1;
}

ghostclas::PreprocessSpec spec_of(const int* fields) {
    ghostclas::PreprocessSpec spec;
    spec.short_side = fields[0];
    spec.interpolation = static_cast<ghostclas::Interpolation>(fields[1]);
    spec.antialias = fields[2] != 0;
    spec.crop = fields[3];
    spec.exif = fields[4] != 0;
    spec.library = static_cast<ghostclas::ResizeLibrary>(fields[5]);
    spec.width = fields[6];
    spec.height = fields[7];
    return spec;
}

}  // namespace

GHOSTCLAS_TEST_API int ghostclas_test_preprocess(const char* name, const std::uint8_t* data, std::size_t size,
                                                 const int* fields, std::uint8_t* out, char* text, std::size_t room) {
    return guarded(text, room, [&] { ghostclas::preprocess(name, data, size, spec_of(fields), out); });
}

GHOSTCLAS_TEST_API int ghostclas_test_rgb(const std::uint8_t* rgb, int width, int height, const int* fields,
                                          std::uint8_t* out, char* text, std::size_t room) {
    return guarded(text, room, [&] { ghostclas::preprocess_rgb(rgb, width, height, spec_of(fields), out); });
}

GHOSTCLAS_TEST_API int ghostclas_test_scores(const float* logits, std::size_t images, std::size_t classes,
                                             double temperature, std::int64_t k, float* scores, std::int64_t* top,
                                             char* text, std::size_t room) {
    return guarded(text, room, [&] {
        const auto softmaxed = ghostclas::softmax(logits, images, classes, temperature);
        std::copy(softmaxed.begin(), softmaxed.end(), scores);
        const auto best = ghostclas::top_k(scores, images, classes, k);
        std::copy(best.begin(), best.end(), top);
    });
}
