// A model that labels photos: a bundle, a runtime and the pixels that Python's ghostclas sees.
//
//     ghostclas::Classifier classifier("bundle.zip");
//     ghostclas::Prediction answer = classifier.predict("photo.jpg");
//     if (!answer.error) std::cout << answer.top[0].label << " " << answer.top[0].score << "\n";
//
// Strings are UTF-8. On POSIX, paths are the bytes that the system has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ghostclas/error.hpp"

#if defined(_WIN32) && defined(GHOSTCLAS_SHARED)
#if defined(GHOSTCLAS_BUILDING)
#define GHOSTCLAS_API __declspec(dllexport)
#else
#define GHOSTCLAS_API __declspec(dllimport)
#endif
#elif defined(GHOSTCLAS_SHARED) && defined(__GNUC__)
#define GHOSTCLAS_API __attribute__((visibility("default")))
#else
#define GHOSTCLAS_API
#endif

namespace ghostclas {

// One class with the probability that the model gives it.
struct Label {
    std::size_t index = 0;
    std::string label;
    float score = 0;
};

// Why a photo has no labels. `code` is stable, `message` is for people.
struct PredictionError {
    std::string code;
    std::string message;
};

// The answer for one photo, as Python and its command line give it.
struct Prediction {
    std::optional<std::string> file;  // its name, if it has one
    std::vector<Label> top;           // best first
    bool unknown = false;             // the best score is below the bundle's threshold
    std::optional<PredictionError> error;
};

// The prediction as one line of JSON without a line feed: the characters of `ghostclas predict --json`.
GHOSTCLAS_API std::string to_json(const Prediction& prediction);

// A photo: encoded bytes, or RGB pixels in rows of 3 * width bytes. The memory is the caller's.
struct Image {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;  // of encoded bytes; 0 for pixels
    int width = 0;
    int height = 0;

    static Image encoded(const void* data, std::size_t size) {
        return {static_cast<const std::uint8_t*>(data), size, 0, 0};
    }
    static Image rgb(const std::uint8_t* pixels, int width, int height) { return {pixels, 0, width, height}; }
};

struct Options {
    std::string engine = "auto";  // "onnxruntime", "openvino"; "auto" is ONNX Runtime
    std::string precision;        // of the bundle's file: "fp32", "fp16", "int8"; "" for the best that there is
    std::string runtime;          // the runtime's library or the folder that it is in; "" for where it is looked for
    int threads = 0;              // the number of cores; 0 for all that this process may use
    std::size_t batch_size = 0;   // the number of photos in a batch of stream(); 0 for 4, the fastest measured
};

// Functions throw ghostclas::Error. Several threads may call them at once.
class GHOSTCLAS_API Classifier {
  public:
    // Opens the bundle in the folder or .zip at `bundle` and loads it into a runtime. "default" is the built-in model,
    // where it was installed.
    explicit Classifier(const std::string& bundle, const Options& options = {});
    ~Classifier();
    Classifier(Classifier&& other) noexcept;
    Classifier& operator=(Classifier&& other) noexcept;

    // Labels the photo in a file. One that cannot be decoded has its `error` set and no labels.
    Prediction predict(const std::string& file, std::size_t top = 5) const;

    // Labels a photo in memory.
    Prediction predict(const Image& image, std::size_t top = 5) const;

    // Labels several photos, on all cores. The answers are in the order of the photos.
    std::vector<Prediction> predict(const std::vector<std::string>& files, std::size_t top = 5) const;
    std::vector<Prediction> predict(const std::vector<Image>& images, std::size_t top = 5) const;

    // Labels the files that `next` names, on all cores and in bounded memory, until it returns nothing. `answer` gets
    // the predictions in order; if it returns false, the work ends. Both are called by the caller's thread alone.
    void stream(const std::function<std::optional<std::string>()>& next,
                const std::function<bool(const Prediction&)>& answer, std::size_t top = 5) const;

    // Decodes, scales and crops a photo into crop() x crop() x 3 bytes. `name` is how errors call it.
    void preprocess(const Image& image, std::uint8_t* pixels, const std::string& name = "the image") const;

    // The logits, float32 [count, classes], of `count` images as preprocess() gives them, in one batch.
    std::vector<float> logits(const std::uint8_t* pixels, std::size_t count) const;

    const std::string& name() const;
    const std::vector<std::string>& classes() const;  // in the order of the logits
    int crop() const;                                 // the side of the square that the network sees, in pixels
    std::string engine() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// Verifies the bundle in the folder or .zip at `path`: its manifest and the content of every file. Throws Error.
GHOSTCLAS_API void verify_bundle(const std::string& path);

// Where "default" is: the built-in model beside the library. Throws Error of Kind::usage if it was not installed.
GHOSTCLAS_API std::string default_bundle();

}  // namespace ghostclas
