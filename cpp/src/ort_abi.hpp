// The part of ONNX Runtime's C API that is used here, declared by hand.
//
// The API is a table of functions that only ever grows at its end, so an entry's place is its name. The places were
// counted in onnxruntime_c_api.h; tests/cpp/test_runtime.py compares them with that header where it is.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#define GHOSTCLAS_ORT_CALL __stdcall
#else
#define GHOSTCLAS_ORT_CALL
#endif

namespace ghostclas::ort {

struct Allocator;
struct Env;
struct MemoryInfo;
struct RunOptions;
struct Session;
struct SessionOptions;
struct Status;
struct TensorInfo;
struct TypeInfo;
struct Value;

struct ApiBase {
    const void*(GHOSTCLAS_ORT_CALL* get_api)(std::uint32_t version);
    const char*(GHOSTCLAS_ORT_CALL* get_version)();
};
using GetApiBase = const ApiBase*(GHOSTCLAS_ORT_CALL*)();

// The version of the table that is asked for: of ONNX Runtime 1.17, the oldest that is used.
inline constexpr std::uint32_t api_version = 17;
inline constexpr const char* oldest = "1.17";

inline constexpr int log_fatal = 4;
inline constexpr int arena_allocator = 1;
inline constexpr int default_memory = 0;
inline constexpr int type_tensor = 1;  // ONNX_TYPE_TENSOR
inline constexpr int element_float32 = 1;
inline constexpr int element_uint8 = 2;

// X(place, name, result, parameters)
#define GHOSTCLAS_ORT_ENTRIES(X)                                                                                    \
    X(1, GetErrorCode, int, (const Status*))                                                                        \
    X(2, GetErrorMessage, const char*, (const Status*))                                                             \
    X(3, CreateEnv, Status*, (int level, const char* id, Env** out))                                                \
    X(6, DisableTelemetryEvents, Status*, (const Env*))                                                             \
    X(8, CreateSessionFromArray, Status*,                                                                           \
      (const Env*, const void* data, std::size_t size, const SessionOptions*, Session** out))                       \
    X(9, Run, Status*,                                                                                              \
      (Session*, const RunOptions*, const char* const* input_names, const Value* const* inputs, std::size_t inputs_size, \
       const char* const* output_names, std::size_t outputs_size, Value** outputs))                                 \
    X(10, CreateSessionOptions, Status*, (SessionOptions * *out))                                                   \
    X(22, SetSessionLogSeverityLevel, Status*, (SessionOptions*, int level))                                        \
    X(24, SetIntraOpNumThreads, Status*, (SessionOptions*, int count))                                              \
    X(25, SetInterOpNumThreads, Status*, (SessionOptions*, int count))                                              \
    X(30, SessionGetInputCount, Status*, (const Session*, std::size_t* out))                                        \
    X(31, SessionGetOutputCount, Status*, (const Session*, std::size_t* out))                                       \
    X(33, SessionGetInputTypeInfo, Status*, (const Session*, std::size_t index, TypeInfo** out))                    \
    X(34, SessionGetOutputTypeInfo, Status*, (const Session*, std::size_t index, TypeInfo** out))                   \
    X(36, SessionGetInputName, Status*, (const Session*, std::size_t index, Allocator*, char** out))                \
    X(37, SessionGetOutputName, Status*, (const Session*, std::size_t index, Allocator*, char** out))               \
    X(49, CreateTensorWithDataAsOrtValue, Status*,                                                                  \
      (const MemoryInfo*, void* data, std::size_t size, const std::int64_t* shape, std::size_t rank, int type, Value** out)) \
    X(51, GetTensorMutableData, Status*, (Value*, void** out))                                                      \
    X(55, CastTypeInfoToTensorInfo, Status*, (const TypeInfo*, const TensorInfo** out))                             \
    X(60, GetTensorElementType, Status*, (const TensorInfo*, int* out))                                             \
    X(61, GetDimensionsCount, Status*, (const TensorInfo*, std::size_t* out))                                       \
    X(62, GetDimensions, Status*, (const TensorInfo*, std::int64_t* sizes, std::size_t rank))                       \
    X(65, GetTensorTypeAndShape, Status*, (const Value*, TensorInfo** out))                                         \
    X(69, CreateCpuMemoryInfo, Status*, (int allocator, int memory, MemoryInfo** out))                              \
    X(76, AllocatorFree, Status*, (Allocator*, void*))                                                              \
    X(78, GetAllocatorWithDefaultOptions, Status*, (Allocator * *out))                                              \
    X(92, ReleaseEnv, void, (Env*))                                                                                 \
    X(93, ReleaseStatus, void, (Status*))                                                                           \
    X(94, ReleaseMemoryInfo, void, (MemoryInfo*))                                                                   \
    X(95, ReleaseSession, void, (Session*))                                                                         \
    X(96, ReleaseValue, void, (Value*))                                                                             \
    X(98, ReleaseTypeInfo, void, (TypeInfo*))                                                                       \
    X(99, ReleaseTensorTypeAndShapeInfo, void, (TensorInfo*))                                                       \
    X(100, ReleaseSessionOptions, void, (SessionOptions*))                                                          \
    X(130, AddSessionConfigEntry, Status*, (SessionOptions*, const char* key, const char* value))

// The entries, found in a table.
struct Api {
    explicit Api(const void* table) {
        using Any = void(GHOSTCLAS_ORT_CALL*)();
        const auto* entries = static_cast<const Any*>(table);
#define GHOSTCLAS_ORT_FIND(place, name, result, parameters) name = reinterpret_cast<decltype(name)>(entries[place]);
        GHOSTCLAS_ORT_ENTRIES(GHOSTCLAS_ORT_FIND)
#undef GHOSTCLAS_ORT_FIND
    }
#define GHOSTCLAS_ORT_DECLARE(place, name, result, parameters) result(GHOSTCLAS_ORT_CALL* name) parameters = nullptr;
    GHOSTCLAS_ORT_ENTRIES(GHOSTCLAS_ORT_DECLARE)
#undef GHOSTCLAS_ORT_DECLARE
};

}  // namespace ghostclas::ort
