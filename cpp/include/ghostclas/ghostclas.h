/* The C API of ghostclas: a model that labels photos, for any language that calls C.
 *
 * Functions that can fail return 0 for success, or the exit code of the kind of failure (2 usage, 3 data, 4 bundle,
 * 5 missing runtime, 1 others). Where `error` is not NULL, it then gets an error that the caller frees,
 * or NULL if there is no memory for one.
 * Strings are UTF-8. Several threads may use one classifier at once. A photo that cannot be decoded is an answer with
 * an error in its JSON, not a failure. */
#ifndef GHOSTCLAS_H
#define GHOSTCLAS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(GHOSTCLAS_SHARED)
#if defined(GHOSTCLAS_BUILDING)
#define GHOSTCLAS_C_API __declspec(dllexport)
#else
#define GHOSTCLAS_C_API __declspec(dllimport)
#endif
#elif defined(GHOSTCLAS_SHARED) && defined(__GNUC__)
#define GHOSTCLAS_C_API __attribute__((visibility("default")))
#else
#define GHOSTCLAS_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ghostclas_classifier ghostclas_classifier;
typedef struct ghostclas_answers ghostclas_answers;
typedef struct ghostclas_error ghostclas_error;

/* All fields may be NULL or 0. */
typedef struct ghostclas_options {
    const char* engine;    /* "auto", "onnxruntime" or "openvino" */
    const char* precision; /* of the bundle's file: "fp32", "fp16" or "int8" */
    const char* runtime;   /* the runtime's library, or the folder that it is in */
    int threads;           /* the number of cores; 0 for all */
    size_t batch_size;     /* the number of photos in a batch; 0 for the fastest measured */
} ghostclas_options;

/* A photo in memory: `size` encoded bytes, or, with size 0, RGB pixels in rows of 3 * width bytes. */
typedef struct ghostclas_image {
    const uint8_t* data;
    size_t size;
    int width;
    int height;
} ghostclas_image;

GHOSTCLAS_C_API const char* ghostclas_version(void);

/* Opens the bundle in the folder or .zip at `bundle`; "default" is the built-in model. `options` may be NULL. */
GHOSTCLAS_C_API int ghostclas_open(const char* bundle, const ghostclas_options* options,
                                   ghostclas_classifier** classifier, ghostclas_error** error);
GHOSTCLAS_C_API void ghostclas_close(ghostclas_classifier* classifier);

/* Verifies the manifest of a bundle and the content of every file. */
GHOSTCLAS_C_API int ghostclas_verify(const char* bundle, ghostclas_error** error);

GHOSTCLAS_C_API size_t ghostclas_class_count(const ghostclas_classifier* classifier);
/* NULL for an index that there is not. The string lives as long as the classifier. */
GHOSTCLAS_C_API const char* ghostclas_class_name(const ghostclas_classifier* classifier, size_t index);
/* The side in pixels of the square that the network sees. */
GHOSTCLAS_C_API int ghostclas_crop(const ghostclas_classifier* classifier);

/* Labels `count` photos on all cores; `top` labels each. The answers are in the order of the photos. */
GHOSTCLAS_C_API int ghostclas_predict_files(const ghostclas_classifier* classifier, const char* const* files,
                                            size_t count, size_t top, ghostclas_answers** answers,
                                            ghostclas_error** error);
GHOSTCLAS_C_API int ghostclas_predict_images(const ghostclas_classifier* classifier, const ghostclas_image* images,
                                             size_t count, size_t top, ghostclas_answers** answers,
                                             ghostclas_error** error);

/* One answer as the JSON of `ghostclas predict --json`; NULL for an index that there is not. */
GHOSTCLAS_C_API const char* ghostclas_answer_json(const ghostclas_answers* answers, size_t index);
/* One label of an answer, rank 0 the best. Returns its text, or NULL if there is none of this rank. `index` and
 * `score` may be NULL. */
GHOSTCLAS_C_API const char* ghostclas_answer_label(const ghostclas_answers* answers, size_t index, size_t rank,
                                                   size_t* class_index, float* score);
GHOSTCLAS_C_API void ghostclas_free_answers(ghostclas_answers* answers);

/* Decodes, scales and crops a photo into crop x crop x 3 bytes. */
GHOSTCLAS_C_API int ghostclas_preprocess(const ghostclas_classifier* classifier, const ghostclas_image* image,
                                         uint8_t* pixels, ghostclas_error** error);
/* The logits, float [count][classes], of `count` images as ghostclas_preprocess gives them, in one batch. */
GHOSTCLAS_C_API int ghostclas_logits(const ghostclas_classifier* classifier, const uint8_t* pixels, size_t count,
                                     float* logits, ghostclas_error** error);

/* The sentence for people, and the stable code for programs. */
GHOSTCLAS_C_API const char* ghostclas_error_message(const ghostclas_error* error);
GHOSTCLAS_C_API const char* ghostclas_error_code(const ghostclas_error* error);
GHOSTCLAS_C_API void ghostclas_free_error(ghostclas_error* error);

#ifdef __cplusplus
}
#endif

#endif
