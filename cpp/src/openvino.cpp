// OpenVINO on the CPU, by its C API, loaded while the program runs. It reads the bundle's ONNX file.
//
// As in Python's ghostclas.engines.openvino, it computes in float32 and pins no thread to a core.
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "engine.hpp"
#include "files.hpp"
#include "ghostclas/error.hpp"
#include "library.hpp"
#include "strings.hpp"

namespace ghostclas {
namespace {

constexpr const char* runtime_name = "OpenVINO";
constexpr int oldest = 2026;
constexpr RuntimeLibrary wanted{runtime_name, "libopenvino_c", "GHOSTCLAS_OPENVINO",
                                "pip install openvino, and name the folder openvino/libs of that installation by "
                                "--runtime or GHOSTCLAS_OPENVINO"};

// The types of OpenVINO's C API, as its version 2026 declares them.
struct Core;
struct Model;
struct Compiled;
struct Request;
struct PortHandle;
struct Tensor;
struct Version {
    const char* build;
    const char* description;
};
struct Dimension {
    std::int64_t least;
    std::int64_t most;
};
struct PartialShape {
    Dimension rank;
    Dimension* sizes;
};
struct Shape {
    std::int64_t rank;
    std::int64_t* sizes;
};
constexpr int type_f16 = 3;
constexpr int type_f32 = 4;
constexpr int type_i8 = 7;
constexpr int type_u8 = 16;

// X(name, result, parameters)
#define GHOSTCLAS_OPENVINO_FUNCTIONS(X)                                                                       \
    X(ov_get_openvino_version, int, (Version*))                                                               \
    X(ov_version_free, void, (Version*))                                                                      \
    X(ov_get_last_err_msg, const char*, ())                                                                   \
    X(ov_free, void, (const char*))                                                                           \
    X(ov_core_create, int, (Core**))                                                                          \
    X(ov_core_free, void, (Core*))                                                                            \
    X(ov_core_read_model_from_memory_buffer, int, (const Core*, const char*, std::size_t, const Tensor*, Model**)) \
    X(ov_core_compile_model, int, (const Core*, const Model*, const char*, std::size_t, Compiled**, ...))     \
    X(ov_model_free, void, (Model*))                                                                          \
    X(ov_compiled_model_free, void, (Compiled*))                                                              \
    X(ov_compiled_model_inputs_size, int, (const Compiled*, std::size_t*))                                    \
    X(ov_compiled_model_outputs_size, int, (const Compiled*, std::size_t*))                                   \
    X(ov_compiled_model_input_by_index, int, (const Compiled*, std::size_t, PortHandle**))                    \
    X(ov_compiled_model_output_by_index, int, (const Compiled*, std::size_t, PortHandle**))                   \
    X(ov_compiled_model_create_infer_request, int, (const Compiled*, Request**))                              \
    X(ov_output_const_port_free, void, (PortHandle*))                                                         \
    X(ov_port_get_any_name, int, (const PortHandle*, char**))                                                 \
    X(ov_port_get_element_type, int, (const PortHandle*, int*))                                               \
    X(ov_port_get_partial_shape, int, (const PortHandle*, PartialShape*))                                     \
    X(ov_partial_shape_free, void, (PartialShape*))                                                           \
    X(ov_shape_free, int, (Shape*))                                                                           \
    X(ov_tensor_create_from_host_ptr, int, (int, Shape, void*, Tensor**))                                     \
    X(ov_tensor_get_shape, int, (const Tensor*, Shape*))                                                      \
    X(ov_tensor_data, int, (const Tensor*, void**))                                                           \
    X(ov_tensor_free, void, (Tensor*))                                                                        \
    X(ov_infer_request_set_tensor, int, (Request*, const char*, const Tensor*))                               \
    X(ov_infer_request_get_tensor, int, (const Request*, const char*, Tensor**))                              \
    X(ov_infer_request_infer, int, (Request*))                                                                \
    X(ov_infer_request_free, void, (Request*))

struct Api {
#define GHOSTCLAS_OPENVINO_DECLARE(name, result, parameters) result(*name) parameters = nullptr;
    GHOSTCLAS_OPENVINO_FUNCTIONS(GHOSTCLAS_OPENVINO_DECLARE)
#undef GHOSTCLAS_OPENVINO_DECLARE
};

class RuntimeProblem : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

template <typename Object>
using Owned = std::unique_ptr<Object, std::function<void(Object*)>>;

std::string dtype_name(int type) {
    switch (type) {
        case type_u8:
            return "uint8";
        case type_i8:
            return "int8";
        case type_f16:
            return "float16";
        case type_f32:
            return "float32";
        default:
            return "type " + std::to_string(type);
    }
}

class OpenVinoEngine : public Engine {
  public:
    OpenVinoEngine(const Bundle& bundle, const FileEntry& entry, const EngineOptions& options)
        : bundle_(bundle), entry_(entry) {
        open_first(wanted, options.runtime, [this](const std::string& path) { return open(path); });
        const std::vector<std::uint8_t> content = read_onnx(bundle, entry);
        std::vector<Port> inputs;
        std::vector<Port> outputs;
        try {
            load(content, options);
            std::size_t count = 0;
            check(api_.ov_compiled_model_inputs_size(model_.get(), &count));
            for (std::size_t i = 0; i < count; ++i) inputs.push_back(port(i, api_.ov_compiled_model_input_by_index));
            check(api_.ov_compiled_model_outputs_size(model_.get(), &count));
            for (std::size_t i = 0; i < count; ++i) outputs.push_back(port(i, api_.ov_compiled_model_output_by_index));
        } catch (const RuntimeProblem& problem) {
            loading_failed(bundle, entry, runtime_name, problem.what());
        }
        check_signature(bundle, entry, runtime_name, inputs, outputs);
    }

    std::vector<float> run(const std::uint8_t* images, std::size_t count) const override {
        if (count == 0) return {};
        try {
            // A request holds the tensors of one batch: whoever computes has one to itself.
            Owned<Request> request = take_request();
            std::int64_t sizes[] = {static_cast<std::int64_t>(count), entry_.input->size('H').value_or(0),
                                    entry_.input->size('W').value_or(0), 3};
            Tensor* made = nullptr;
            // The runtime does not write to an input.
            check(api_.ov_tensor_create_from_host_ptr(type_u8, {4, sizes}, const_cast<std::uint8_t*>(images), &made));
            const Owned<Tensor> input(made, api_.ov_tensor_free);
            check(api_.ov_infer_request_set_tensor(request.get(), entry_.input->name.c_str(), input.get()));
            check(api_.ov_infer_request_infer(request.get()));
            Tensor* result = nullptr;
            check(api_.ov_infer_request_get_tensor(request.get(), entry_.output->name.c_str(), &result));
            const Owned<Tensor> output(result, api_.ov_tensor_free);
            Shape shape{};
            check(api_.ov_tensor_get_shape(output.get(), &shape));
            const std::vector<std::int64_t> found(shape.sizes, shape.sizes + shape.rank);
            api_.ov_shape_free(&shape);
            check_rows(bundle_, entry_, name(), found, count);
            void* rows = nullptr;
            check(api_.ov_tensor_data(output.get(), &rows));
            std::vector<float> logits = as_float32(rows, count * static_cast<std::size_t>(found[1]), *entry_.output);
            const std::lock_guard lock(mutex_);
            idle_.push_back(std::move(request));
            return logits;
        } catch (const RuntimeProblem& problem) {
            running_failed(bundle_, entry_, runtime_name, problem.what());
        }
    }

    const char* name() const override { return "openvino"; }

  private:
    std::string open(const std::string& path) {
        std::string problem;
        if (!library_.open(path, problem)) return problem;
#define GHOSTCLAS_OPENVINO_FIND(name, result, parameters)                      \
    api_.name = library_.symbol<decltype(api_.name)>(#name);                   \
    if (api_.name == nullptr) return path + " is not OpenVINO 2026 or newer: it has no " #name;
        GHOSTCLAS_OPENVINO_FUNCTIONS(GHOSTCLAS_OPENVINO_FIND)
#undef GHOSTCLAS_OPENVINO_FIND
        Version version{};
        if (api_.ov_get_openvino_version(&version) != 0) return path + " does not tell its version";
        const std::string build = version.build;
        api_.ov_version_free(&version);
        if (std::strtol(build.c_str(), nullptr, 10) < oldest) {
            throw Error(Kind::missing, "missing_runtime",
                        "OpenVINO " + build + " in " + path + " is too old: version " + std::to_string(oldest) +
                            " or newer is needed; " + wanted.hint);
        }
        return {};
    }

    void check(int status) const {
        if (status == 0) return;
        const char* message = api_.ov_get_last_err_msg();
        const std::string text = message == nullptr || *message == '\0' ? "status " + std::to_string(status) : message;
        if (message != nullptr) api_.ov_free(message);
        throw RuntimeProblem(text);
    }

    void load(const std::vector<std::uint8_t>& content, const EngineOptions& options) {
        Core* core = nullptr;
        check(api_.ov_core_create(&core));
        core_ = {core, api_.ov_core_free};
        Model* read = nullptr;
        check(api_.ov_core_read_model_from_memory_buffer(core, reinterpret_cast<const char*>(content.data()),
                                                         content.size(), nullptr, &read));
        const Owned<Model> model(read, api_.ov_model_free);
        const std::string streams = std::to_string(options.concurrency);
        const bool is_alone = options.concurrency <= 1;
        const int threads = options.threads > 0 ? options.threads : is_alone ? 0 : usable_cores();
        const std::string count = std::to_string(threads);
        const char* hint = is_alone ? "PERFORMANCE_HINT" : "NUM_STREAMS";
        // Without a stream for each, the batches of several threads would wait for each other.
        const char* value = is_alone ? "LATENCY" : streams.c_str();
        Compiled* compiled = nullptr;
        if (threads > 0) {
            check(api_.ov_core_compile_model(core, read, "CPU", 8, &compiled, "INFERENCE_PRECISION_HINT", "f32",
                                             "ENABLE_CPU_PINNING", "NO", hint, value, "INFERENCE_NUM_THREADS", count.c_str()));
        } else {
            check(api_.ov_core_compile_model(core, read, "CPU", 6, &compiled, "INFERENCE_PRECISION_HINT", "f32",
                                             "ENABLE_CPU_PINNING", "NO", hint, value));
        }
        model_ = {compiled, api_.ov_compiled_model_free};
    }

    Port port(std::size_t index, decltype(Api::ov_compiled_model_input_by_index) by_index) const {
        PortHandle* handle = nullptr;
        check(by_index(model_.get(), index, &handle));
        const Owned<PortHandle> owned(handle, api_.ov_output_const_port_free);
        Port port;
        char* text = nullptr;
        check(api_.ov_port_get_any_name(handle, &text));
        port.name = text;
        api_.ov_free(text);
        int type = 0;
        check(api_.ov_port_get_element_type(handle, &type));
        port.dtype = dtype_name(type);
        PartialShape shape{};
        check(api_.ov_port_get_partial_shape(handle, &shape));
        for (std::int64_t i = 0; i < shape.rank.most && shape.sizes != nullptr; ++i) {
            const Dimension& size = shape.sizes[i];
            port.shape.push_back(size.least == size.most ? std::optional<std::int64_t>(size.least) : std::nullopt);
        }
        api_.ov_partial_shape_free(&shape);
        return port;
    }

    Owned<Request> take_request() const {
        {
            const std::lock_guard lock(mutex_);
            if (!idle_.empty()) {
                Owned<Request> request = std::move(idle_.back());
                idle_.pop_back();
                return request;
            }
        }
        Request* request = nullptr;
        check(api_.ov_compiled_model_create_infer_request(model_.get(), &request));
        return {request, api_.ov_infer_request_free};
    }

    const Bundle& bundle_;
    const FileEntry& entry_;
    Library library_;
    Api api_;
    Owned<Core> core_;
    Owned<Compiled> model_;
    mutable std::mutex mutex_;
    mutable std::vector<Owned<Request>> idle_;
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const Bundle& bundle, const FileEntry& entry, const EngineOptions& options) {
    return std::make_unique<OpenVinoEngine>(bundle, entry, options);
}

}  // namespace ghostclas
