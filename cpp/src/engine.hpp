// The one contract of all runtimes: a verified file of a bundle, uint8 photos in, float32 logits out.
//
// A runtime is one file that implements Engine, and one line in open_engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle.hpp"

namespace ghostclas {

// One file of a bundle, loaded into one runtime. Several threads may call it at once.
class Engine {
  public:
    virtual ~Engine() = default;

    // The logits, float32 [count, classes], of uint8 [count, H, W, 3]; the same as for each image alone, up to the
    // runtime's rounding. Throws Error of Kind::bundle if the runtime fails.
    virtual std::vector<float> run(const std::uint8_t* images, std::size_t count) const = 0;

    virtual const char* name() const = 0;
};

struct EngineOptions {
    std::string engine = "auto";
    std::string precision;   // "fp32", "fp16", "int8", or "" for the best that there is
    std::string runtime;     // the runtime's library, or the folder that it is in; "" for where it is looked for
    int threads = 0;         // that compute at once; 0 for all cores
    int concurrency = 1;     // how many threads call run() at once and share them
};

// Loads the bundle, which has to live as long as the engine. Throws Error of Kind::usage, bundle or missing.
std::unique_ptr<Engine> open_engine(const Bundle& bundle, const EngineOptions& options);

std::unique_ptr<Engine> open_onnxruntime(const Bundle& bundle, const FileEntry& entry, const EngineOptions& options);
std::unique_ptr<Engine> open_openvino(const Bundle& bundle, const FileEntry& entry, const EngineOptions& options);

// ------------------------------------------------------------------ what runtimes share

// How many threads compute one batch; nothing for as many as the runtime finds best.
std::optional<int> threads_per_batch(const EngineOptions& options);

// The verified content of an ONNX file that is one plain graph.
std::vector<std::uint8_t> read_onnx(const Bundle& bundle, const FileEntry& entry);

// An input or output as a runtime found it; sizes that are not fixed are nothing.
struct Port {
    std::string name;
    std::string dtype;
    std::vector<std::optional<std::int64_t>> shape;
};

// Refuses a file whose inputs and outputs are not those of the manifest.
void check_signature(const Bundle& bundle, const FileEntry& entry, const char* runtime, const std::vector<Port>& inputs,
                     const std::vector<Port>& outputs);

// Refuses logits that are not [count, classes].
void check_rows(const Bundle& bundle, const FileEntry& entry, const char* engine, const std::vector<std::int64_t>& shape,
                std::size_t count);

// `count` values of the output's dtype, which every runtime gives as the manifest says, as float32.
std::vector<float> as_float32(const void* values, std::size_t count, const TensorSpec& output);

[[noreturn]] void loading_failed(const Bundle& bundle, const FileEntry& entry, const char* runtime, const std::string& why);
[[noreturn]] void running_failed(const Bundle& bundle, const FileEntry& entry, const char* runtime, const std::string& why);

// Where the library of a runtime is looked for.
struct RuntimeLibrary {
    const char* runtime;   // "ONNX Runtime"
    const char* stem;      // "libonnxruntime"
    const char* variable;  // the environment variable that names it
    const char* hint;      // what to do where it is not found
};

// The paths and names to try, in order, by the rules of docs/cpp.md. Throws Error of Kind::missing if the option or
// the variable names a folder without it.
std::vector<std::string> candidates_of(const RuntimeLibrary& library, const std::string& option);

// Opens the first of them that loads, by `open`, which returns why one does not, or nothing. Returns which it was.
// Throws Error of Kind::missing, saying where it was looked for.
std::string open_first(const RuntimeLibrary& library, const std::string& option,
                       const std::function<std::string(const std::string&)>& open);

}  // namespace ghostclas
