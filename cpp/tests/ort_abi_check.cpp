// Compiled beside ONNX Runtime's own header, and not run: what src/ort_abi.hpp declares by hand is in the same place of
// the table, and takes and returns values of the same kinds. tests/cpp/test_runtime.py compiles it.
#include <onnxruntime_c_api.h>

#include <cstddef>
#include <type_traits>

#include "ort_abi.hpp"

namespace {

// Opaque objects have other names here, and enumerations are numbers.
template <typename Mine, typename Theirs>
constexpr bool is_alike = sizeof(Mine) == sizeof(Theirs) && std::is_pointer_v<Mine> == std::is_pointer_v<Theirs>;
template <>
constexpr bool is_alike<void, void> = true;

template <typename... Types>
struct List {};

template <typename Mine, typename Theirs>
constexpr bool are_alike = false;
template <typename... Mine, typename... Theirs>
constexpr bool are_alike<List<Mine...>, List<Theirs...>> = [] {
    if constexpr (sizeof...(Mine) == sizeof...(Theirs)) return (is_alike<Mine, Theirs> && ...);
    return false;
}();

template <typename Function>
struct Parts;
template <typename Result, typename... Parameters>
struct Parts<Result(GHOSTCLAS_ORT_CALL*)(Parameters...)> {
    using Types = List<Result, Parameters...>;
};
template <typename Result, typename... Parameters>
struct Parts<Result(GHOSTCLAS_ORT_CALL*)(Parameters...) noexcept> {
    using Types = List<Result, Parameters...>;
};

#define GHOSTCLAS_CHECK(place, name, result, parameters)                               \
    static_assert(offsetof(OrtApi, name) == (place) * sizeof(void*), "place of " #name); \
    static_assert(are_alike<Parts<decltype(ghostclas::ort::Api::name)>::Types, Parts<decltype(OrtApi::name)>::Types>, \
                  "parameters of " #name);
GHOSTCLAS_ORT_ENTRIES(GHOSTCLAS_CHECK)

static_assert(offsetof(OrtApiBase, GetApi) == offsetof(ghostclas::ort::ApiBase, get_api));
static_assert(offsetof(OrtApiBase, GetVersionString) == offsetof(ghostclas::ort::ApiBase, get_version));
static_assert(ghostclas::ort::api_version <= ORT_API_VERSION);
static_assert(ghostclas::ort::log_fatal == ORT_LOGGING_LEVEL_FATAL);
static_assert(ghostclas::ort::arena_allocator == OrtArenaAllocator);
static_assert(ghostclas::ort::default_memory == OrtMemTypeDefault);
static_assert(ghostclas::ort::type_tensor == ONNX_TYPE_TENSOR);
static_assert(ghostclas::ort::element_float32 == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
static_assert(ghostclas::ort::element_uint8 == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);

}  // namespace
