// ONNX Runtime on the CPU, the default engine, with the options of Python's ghostclas.engines.onnxruntime: the same
// library gives the same logits.
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "engine.hpp"
#include "files.hpp"
#include "ghostclas/error.hpp"
#include "library.hpp"
#include "ort_abi.hpp"

namespace ghostclas {
namespace {

constexpr const char* runtime_name = "ONNX Runtime";
constexpr RuntimeLibrary wanted{runtime_name, "libonnxruntime", "GHOSTCLAS_ONNXRUNTIME",
                                "get it with: cpp/get-runtime FOLDER, and name that folder by --runtime or "
                                "GHOSTCLAS_ONNXRUNTIME"};

// A failure as the runtime tells it, in the form in which its Python package does.
class RuntimeProblem : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

const char* code_name(int code) {
    constexpr const char* names[] = {"SUCCESS",        "FAIL",          "INVALID_ARGUMENT", "NO_SUCHFILE", "NO_MODEL",
                                     "ENGINE_ERROR",   "RUNTIME_EXCEPTION", "INVALID_PROTOBUF", "MODEL_LOADED",
                                     "NOT_IMPLEMENTED", "INVALID_GRAPH", "EP_FAIL"};
    return code >= 0 && code < 12 ? names[code] : "GENERAL ERROR";
}

// Owns an object of the runtime.
template <typename Object>
using Owned = std::unique_ptr<Object, std::function<void(Object*)>>;

// The loaded library.
class Runtime {
  public:
    explicit Runtime(const std::string& option) {
        open_first(wanted, option, [this](const std::string& path) { return open(path); });
    }

    const ort::Api& api() const { return *api_; }

    void check(ort::Status* status) const {
        if (status == nullptr) return;
        const int code = api_->GetErrorCode(status);
        const std::string message = "[ONNXRuntimeError] : " + std::to_string(code) + " : " + code_name(code) + " : " +
                                    api_->GetErrorMessage(status);
        api_->ReleaseStatus(status);
        throw RuntimeProblem(message);
    }

  private:
    std::string open(const std::string& path) {
        std::string problem;
        if (!library_.open(path, problem)) return problem;
        const auto base = library_.symbol<ort::GetApiBase>("OrtGetApiBase");
        if (base == nullptr) return path + " is not ONNX Runtime: it has no OrtGetApiBase";
        const ort::ApiBase* found = base();
        const void* table = found->get_api(ort::api_version);
        if (table == nullptr) {
            throw Error(Kind::missing, "missing_runtime",
                        std::string("ONNX Runtime ") + found->get_version() + " in " + path + " is too old: version " +
                            ort::oldest + " or newer is needed; " + wanted.hint);
        }
        api_ = std::make_unique<ort::Api>(table);
        return {};
    }

    Library library_;
    std::unique_ptr<ort::Api> api_;
};

std::string dtype_name(int type) {
    constexpr const char* names[] = {"undefined", "float32", "uint8",   "int8",   "uint16", "int16",  "int32",    "int64",
                                     "string",    "bool",    "float16", "double", "uint32", "uint64", "complex64",
                                     "complex128", "bfloat16"};
    return type >= 0 && type < 17 ? names[type] : "type " + std::to_string(type);
}

class OnnxRuntimeEngine : public Engine {
  public:
    OnnxRuntimeEngine(const Bundle& bundle, const FileEntry& entry, const EngineOptions& options)
        : bundle_(bundle), entry_(entry), runtime_(options.runtime) {
        std::exception_ptr failure;
        // The runtime flushes denormals in the thread that creates a session, which would change the arithmetic of
        // everything else in the caller's.
        std::thread thread([&] {
            try {
                load(options);
            } catch (...) {
                failure = std::current_exception();
            }
        });
        thread.join();
        if (failure) std::rethrow_exception(failure);
    }

    std::vector<float> run(const std::uint8_t* images, std::size_t count) const override {
        const auto classes = static_cast<std::size_t>(entry_.output->size('C').value_or(0));
        if (count == 0) return {};
        try {
            const auto height = entry_.input->size('H').value_or(0);
            const auto width = entry_.input->size('W').value_or(0);
            const std::int64_t shape[] = {static_cast<std::int64_t>(count), height, width, 3};
            const std::size_t bytes = count * static_cast<std::size_t>(height * width * 3);
            const ort::Api& api = runtime_.api();
            ort::Value* made = nullptr;
            // The runtime does not write to an input.
            runtime_.check(api.CreateTensorWithDataAsOrtValue(memory_.get(), const_cast<std::uint8_t*>(images), bytes, shape, 4,
                                                              ort::element_uint8, &made));
            const Owned<ort::Value> input(made, api.ReleaseValue);
            const char* input_name = entry_.input->name.c_str();
            const char* output_name = entry_.output->name.c_str();
            const ort::Value* given = input.get();
            ort::Value* result = nullptr;
            runtime_.check(api.Run(session_.get(), nullptr, &input_name, &given, 1, &output_name, 1, &result));
            const Owned<ort::Value> output(result, api.ReleaseValue);
            check_rows(bundle_, entry_, name(), shape_of(output.get()), count);
            void* rows = nullptr;
            runtime_.check(api.GetTensorMutableData(output.get(), &rows));
            return as_float32(rows, count * classes, *entry_.output);
        } catch (const RuntimeProblem& problem) {
            running_failed(bundle_, entry_, runtime_name, problem.what());
        }
    }

    const char* name() const override { return "onnxruntime"; }

  private:
    void load(const EngineOptions& options) {
        const std::vector<std::uint8_t> content = read_onnx(bundle_, entry_);
        const ort::Api& api = runtime_.api();
        std::vector<Port> inputs;
        std::vector<Port> outputs;
        try {
            ort::Env* env = nullptr;
            runtime_.check(api.CreateEnv(ort::log_fatal, "ghostclas", &env));
            env_ = {env, api.ReleaseEnv};
            runtime_.check(api.DisableTelemetryEvents(env));
            ort::MemoryInfo* memory = nullptr;
            runtime_.check(api.CreateCpuMemoryInfo(ort::arena_allocator, ort::default_memory, &memory));
            memory_ = {memory, api.ReleaseMemoryInfo};
            ort::SessionOptions* made = nullptr;
            runtime_.check(api.CreateSessionOptions(&made));
            const Owned<ort::SessionOptions> settings(made, api.ReleaseSessionOptions);
            runtime_.check(api.SetIntraOpNumThreads(made, threads_per_batch(options).value_or(default_threads())));
            runtime_.check(api.SetInterOpNumThreads(made, 1));
            runtime_.check(api.SetSessionLogSeverityLevel(made, ort::log_fatal));
            runtime_.check(api.AddSessionConfigEntry(made, "session.set_denormal_as_zero", "1"));
            ort::Session* session = nullptr;
            // Of no bytes, a vector has no address.
            const void* bytes = content.empty() ? static_cast<const void*>("") : content.data();
            runtime_.check(api.CreateSessionFromArray(env, bytes, content.size(), made, &session));
            session_ = {session, api.ReleaseSession};
            std::size_t count = 0;
            runtime_.check(api.SessionGetInputCount(session, &count));
            for (std::size_t i = 0; i < count; ++i) inputs.push_back(port(i, api.SessionGetInputName, api.SessionGetInputTypeInfo));
            runtime_.check(api.SessionGetOutputCount(session, &count));
            for (std::size_t i = 0; i < count; ++i) outputs.push_back(port(i, api.SessionGetOutputName, api.SessionGetOutputTypeInfo));
        } catch (const RuntimeProblem& problem) {
            loading_failed(bundle_, entry_, runtime_name, problem.what());
        }
        check_signature(bundle_, entry_, runtime_name, inputs, outputs);
    }

    // The runtime's own choice, unless this process is confined to some of the cores.
    static int default_threads() { return usable_cores() == all_cores() ? 0 : usable_cores(); }

    Port port(std::size_t index, decltype(ort::Api::SessionGetInputName) name_of_port,
              decltype(ort::Api::SessionGetInputTypeInfo) type_of_port) const {
        const ort::Api& api = runtime_.api();
        Port port;
        ort::Allocator* allocator = nullptr;
        runtime_.check(api.GetAllocatorWithDefaultOptions(&allocator));
        char* text = nullptr;
        runtime_.check(name_of_port(session_.get(), index, allocator, &text));
        port.name = text;
        runtime_.check(api.AllocatorFree(allocator, text));
        ort::TypeInfo* type = nullptr;
        runtime_.check(type_of_port(session_.get(), index, &type));
        const Owned<ort::TypeInfo> owned(type, api.ReleaseTypeInfo);
        const ort::TensorInfo* tensor = nullptr;
        runtime_.check(api.CastTypeInfoToTensorInfo(type, &tensor));
        if (tensor == nullptr) {
            port.dtype = "no tensor";
            return port;
        }
        int element = 0;
        runtime_.check(api.GetTensorElementType(tensor, &element));
        port.dtype = dtype_name(element);
        for (const std::int64_t size : sizes_of(tensor)) {
            port.shape.push_back(size < 0 ? std::nullopt : std::optional<std::int64_t>(size));
        }
        return port;
    }

    std::vector<std::int64_t> sizes_of(const ort::TensorInfo* tensor) const {
        const ort::Api& api = runtime_.api();
        std::size_t rank = 0;
        runtime_.check(api.GetDimensionsCount(tensor, &rank));
        std::vector<std::int64_t> sizes(rank);
        runtime_.check(api.GetDimensions(tensor, sizes.data(), rank));
        return sizes;
    }

    std::vector<std::int64_t> shape_of(const ort::Value* value) const {
        ort::TensorInfo* tensor = nullptr;
        runtime_.check(runtime_.api().GetTensorTypeAndShape(value, &tensor));
        const Owned<ort::TensorInfo> owned(tensor, runtime_.api().ReleaseTensorTypeAndShapeInfo);
        return sizes_of(tensor);
    }

    const Bundle& bundle_;
    const FileEntry& entry_;
    Runtime runtime_;
    Owned<ort::Env> env_;
    Owned<ort::MemoryInfo> memory_;
    Owned<ort::Session> session_;
};

}  // namespace

std::unique_ptr<Engine> open_onnxruntime(const Bundle& bundle, const FileEntry& entry, const EngineOptions& options) {
    return std::make_unique<OnnxRuntimeEngine>(bundle, entry, options);
}

}  // namespace ghostclas
