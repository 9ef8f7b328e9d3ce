#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "ghostclas/classifier.hpp"
#include "ghostclas/ghostclas.h"
#include "strings.hpp"

struct ghostclas_classifier {
    ghostclas::Classifier classifier;
};

struct ghostclas_answers {
    std::vector<ghostclas::Prediction> predictions;
    std::vector<std::string> json;
};

struct ghostclas_error {
    std::string message;
    std::string code;
};

namespace {

// What is told where there is no memory for an error: the pointer to it is then null.
constexpr const char* no_memory = "there is not enough memory";
constexpr const char* no_memory_code = "memory";

int fail(ghostclas_error** error, int status, std::string message, std::string code) {
    if (error != nullptr) *error = new ghostclas_error{std::move(message), std::move(code)};
    return status;
}

template <typename Function>
int told(ghostclas_error** error, Function function) {
    try {
        function();
        return 0;
    } catch (const ghostclas::Error& problem) {
        return fail(error, problem.exit_code(), ghostclas::valid_utf8(problem.what()), problem.code());
    } catch (const std::bad_alloc&) {
        return fail(error, 1, no_memory, no_memory_code);
    } catch (const std::exception& problem) {
        return fail(error, 1, problem.what(), "error");
    }
}

// Calls a function whose exceptions become a status and an error: none of them may reach C, and telling them takes
// memory, too.
template <typename Function>
int guarded(ghostclas_error** error, Function function) noexcept {
    if (error != nullptr) *error = nullptr;
    try {
        return told(error, function);
    } catch (...) {
        return 1;
    }
}

std::string text_of(const char* text) { return text == nullptr ? "" : text; }

ghostclas::Options options_of(const ghostclas_options* given) {
    ghostclas::Options options;
    if (given == nullptr) return options;
    if (given->engine != nullptr) options.engine = given->engine;
    options.precision = text_of(given->precision);
    options.runtime = text_of(given->runtime);
    options.threads = given->threads;
    options.batch_size = given->batch_size;
    return options;
}

ghostclas::Image image_of(const ghostclas_image& image) { return {image.data, image.size, image.width, image.height}; }

ghostclas_answers* answers_of(std::vector<ghostclas::Prediction> predictions) {
    auto answers = std::make_unique<ghostclas_answers>();
    for (const ghostclas::Prediction& prediction : predictions) answers->json.push_back(ghostclas::to_json(prediction));
    answers->predictions = std::move(predictions);
    return answers.release();
}

}  // namespace

const char* ghostclas_version(void) { return GHOSTCLAS_VERSION; }

int ghostclas_open(const char* bundle, const ghostclas_options* options, ghostclas_classifier** classifier,
                   ghostclas_error** error) {
    return guarded(error, [&] {
        *classifier = nullptr;
        *classifier = new ghostclas_classifier{ghostclas::Classifier(text_of(bundle), options_of(options))};
    });
}

void ghostclas_close(ghostclas_classifier* classifier) { delete classifier; }

int ghostclas_verify(const char* bundle, ghostclas_error** error) {
    return guarded(error, [&] { ghostclas::verify_bundle(text_of(bundle)); });
}

size_t ghostclas_class_count(const ghostclas_classifier* classifier) { return classifier->classifier.classes().size(); }

const char* ghostclas_class_name(const ghostclas_classifier* classifier, size_t index) {
    const std::vector<std::string>& classes = classifier->classifier.classes();
    return index < classes.size() ? classes[index].c_str() : nullptr;
}

int ghostclas_crop(const ghostclas_classifier* classifier) { return classifier->classifier.crop(); }

int ghostclas_predict_files(const ghostclas_classifier* classifier, const char* const* files, size_t count, size_t top,
                            ghostclas_answers** answers, ghostclas_error** error) {
    return guarded(error, [&] {
        *answers = nullptr;
        *answers = answers_of(classifier->classifier.predict(std::vector<std::string>(files, files + count), top));
    });
}

int ghostclas_predict_images(const ghostclas_classifier* classifier, const ghostclas_image* images, size_t count,
                             size_t top, ghostclas_answers** answers, ghostclas_error** error) {
    return guarded(error, [&] {
        *answers = nullptr;
        std::vector<ghostclas::Image> given;
        std::transform(images, images + count, std::back_inserter(given), image_of);
        *answers = answers_of(classifier->classifier.predict(given, top));
    });
}

const char* ghostclas_answer_json(const ghostclas_answers* answers, size_t index) {
    return index < answers->json.size() ? answers->json[index].c_str() : nullptr;
}

const char* ghostclas_answer_label(const ghostclas_answers* answers, size_t index, size_t rank, size_t* class_index,
                                   float* score) {
    if (index >= answers->predictions.size() || rank >= answers->predictions[index].top.size()) return nullptr;
    const ghostclas::Label& label = answers->predictions[index].top[rank];
    if (class_index != nullptr) *class_index = label.index;
    if (score != nullptr) *score = label.score;
    return label.label.c_str();
}

void ghostclas_free_answers(ghostclas_answers* answers) { delete answers; }

int ghostclas_preprocess(const ghostclas_classifier* classifier, const ghostclas_image* image, uint8_t* pixels,
                         ghostclas_error** error) {
    return guarded(error, [&] { classifier->classifier.preprocess(image_of(*image), pixels); });
}

int ghostclas_logits(const ghostclas_classifier* classifier, const uint8_t* pixels, size_t count, float* logits,
                     ghostclas_error** error) {
    return guarded(error, [&] {
        const std::vector<float> rows = classifier->classifier.logits(pixels, count);
        std::copy(rows.begin(), rows.end(), logits);
    });
}

const char* ghostclas_error_message(const ghostclas_error* error) {
    return error == nullptr ? no_memory : error->message.c_str();
}

const char* ghostclas_error_code(const ghostclas_error* error) {
    return error == nullptr ? no_memory_code : error->code.c_str();
}

void ghostclas_free_error(ghostclas_error* error) { delete error; }
