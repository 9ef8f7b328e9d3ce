#include "engine.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "files.hpp"
#include "ghostclas/error.hpp"
#include "library.hpp"
#include "onnx_graph.hpp"
#include "strings.hpp"

namespace ghostclas {
namespace {

constexpr std::size_t shown = 200;
constexpr std::array<const char*, 2> engines = {"onnxruntime", "openvino"};
constexpr std::array<const char*, 4> precisions = {"fp32", "fp16", "bf16", "int8"};

[[noreturn]] void refuse(const Bundle& bundle, const std::string& what) {
    throw Error(Kind::bundle, "bundle", bundle.path() + ": " + what);
}

std::string port_text(const std::vector<Port>& ports) {
    std::string text;
    for (const Port& port : ports) {
        text += (text.empty() ? "" : ", ") + port.name + " " + port.dtype + " " + shape_text(port.shape);
    }
    return text;
}

bool fits(const Port& port, const Port& declared) {
    if (port.name != declared.name || port.dtype != declared.dtype || port.shape.size() != declared.shape.size()) {
        return false;
    }
    // A batch of any length needs an open axis; an open axis serves any fixed size.
    return std::equal(port.shape.begin(), port.shape.end(), declared.shape.begin(),
                      [](const auto& have, const auto& want) { return !have || have == want; });
}

bool agree(const std::vector<Port>& found, const std::vector<Port>& declared) {
    return found.size() == declared.size() && std::all_of(declared.begin(), declared.end(), [&](const Port& port) {
        return std::count_if(found.begin(), found.end(), [&](const Port& other) { return other.name == port.name; }) == 1 &&
               std::any_of(found.begin(), found.end(), [&](const Port& other) { return fits(other, port); });
    });
}

Port declared_port(const TensorSpec& spec) { return {spec.name, spec.dtype, spec.shape}; }

std::string cut(const std::string& why) {
    const std::string line(first_of(on_one_line(why), shown));
    return line.empty() ? "it says no reason" : line;
}

// The number that 16 bits are in IEEE 754's binary16: a sign, 5 bits of exponent, 10 of fraction.
float of_half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 0x1f;
    const int fraction = bits & 0x3ff;
    float value = 0;
    if (exponent == 0x1f) {
        value = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    } else if (exponent == 0) {
        value = std::ldexp(static_cast<float>(fraction), -24);
    } else {
        value = std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

// The ONNX file of this precision, or of the most precise that there is.
const FileEntry* best_file(const Bundle& bundle, const std::string& precision) {
    for (const char* kind : precisions) {
        if (!precision.empty() && precision != kind) continue;
        for (const FileEntry& entry : bundle.manifest().files) {
            if (entry.input && entry.format == "onnx" && entry.precision == kind) return &entry;
        }
    }
    return nullptr;
}

// The names in `folder` that match "stem*end", the highest version first.
std::vector<std::string> matches_in(const std::string& folder, const std::string& pattern) {
    const std::size_t star = pattern.find('*');
    const std::string begin = pattern.substr(0, star);
    const std::string end = pattern.substr(star + 1);
    std::vector<std::string> found;
    try {
        Listing listing(folder);
        while (const auto entry = listing.next()) {
            if (!entry->is_folder && starts_with(entry->name, begin) && ends_with(entry->name, end) &&
                entry->name.find("providers") == std::string::npos) {
                found.push_back(joined(folder, entry->name));
            }
        }
    } catch (const FileProblem&) {
        return {};
    }
    std::sort(found.begin(), found.end(), std::greater<>());
    return found;
}

}  // namespace

std::optional<int> threads_per_batch(const EngineOptions& options) {
    const std::optional<int> threads = options.threads > 0 ? std::optional<int>(options.threads) : std::nullopt;
    if (options.concurrency <= 1) return threads;
    return std::max(1, threads.value_or(usable_cores()) / options.concurrency);
}

std::vector<std::uint8_t> read_onnx(const Bundle& bundle, const FileEntry& entry) {
    std::vector<std::uint8_t> content = bundle.read(entry);
    const std::string held = refused_in_graph(content.data(), content.size());
    if (!held.empty()) {
        refuse(bundle, entry.path + " is refused and was not run: it holds " + held +
                           ", which no export of a network needs; get the bundle from its maker again, or export it again");
    }
    // A tensor kept elsewhere must say "location", and runtimes look for it from the current folder.
    const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
    if (text.find("location") != std::string_view::npos) {
        refuse(bundle, entry.path + " refers to data outside the file, which is refused; export it with its weights inside");
    }
    return content;
}

void check_signature(const Bundle& bundle, const FileEntry& entry, const char* runtime, const std::vector<Port>& inputs,
                     const std::vector<Port>& outputs) {
    std::vector<Port> declared_outputs{declared_port(*entry.output)};
    if (entry.features) declared_outputs.push_back(declared_port(*entry.features));
    const auto check = [&](const std::vector<Port>& found, const std::vector<Port>& declared) {
        if (agree(found, declared)) return;
        refuse(bundle, entry.path + " in " + runtime + " has " + (found.empty() ? "nothing" : port_text(found)) +
                           " where the manifest says " + port_text(declared) + "; export it again");
    };
    check(inputs, {declared_port(*entry.input)});
    check(outputs, declared_outputs);
}

void check_rows(const Bundle& bundle, const FileEntry& entry, const char* engine, const std::vector<std::int64_t>& shape,
                std::size_t count) {
    const std::vector<std::int64_t> wanted{static_cast<std::int64_t>(count), entry.output->size('C').value_or(0)};
    if (shape == wanted) return;
    refuse(bundle, entry.path + " in " + engine + " gives " + shape_text({shape.begin(), shape.end()}) +
                       " where the manifest says " + shape_text({wanted.begin(), wanted.end()}) + "; export it again");
}

std::vector<float> as_float32(const void* values, std::size_t count, const TensorSpec& output) {
    const auto converted = [&](auto first, auto convert) {
        std::vector<float> floats(count);
        std::transform(first, first + count, floats.begin(), convert);
        return floats;
    };
    const auto widen = [](auto value) { return static_cast<float>(value); };
    if (output.dtype == "float16") return converted(static_cast<const std::uint16_t*>(values), of_half);
    if (output.dtype == "int8") return converted(static_cast<const std::int8_t*>(values), widen);
    if (output.dtype == "uint8") return converted(static_cast<const std::uint8_t*>(values), widen);
    return converted(static_cast<const float*>(values), widen);
}

void loading_failed(const Bundle& bundle, const FileEntry& entry, const char* runtime, const std::string& why) {
    refuse(bundle, std::string(runtime) + " cannot load " + entry.path + ": " + cut(why));
}

void running_failed(const Bundle& bundle, const FileEntry& entry, const char* runtime, const std::string& why) {
    refuse(bundle, std::string(runtime) + " cannot run " + entry.path + ": " + cut(why));
}

std::vector<std::string> candidates_of(const RuntimeLibrary& library, const std::string& option) {
    const std::string pattern = library_pattern(library.stem);
    const std::optional<std::string> variable = environment(library.variable);
    if (!option.empty() || variable) {
        const std::string chosen = option.empty() ? *variable : option;
        if (!is_folder(chosen)) return {chosen};
        std::vector<std::string> found = matches_in(chosen, pattern);
        if (!found.empty()) return found;
        throw Error(Kind::missing, "missing_runtime",
                    std::string("there is no ") + pattern + " in " + chosen +
                        (option.empty() ? std::string(", which ") + library.variable + " names" : "") + "; " + library.hint);
    }
    std::vector<std::string> found;
    const std::string here = own_folder();
    if (!here.empty()) {
        for (const std::string& folder : {joined(joined(folder_of(here), "lib"), "ghostclas"), joined(here, "ghostclas"), here}) {
            for (std::string& path : matches_in(folder, pattern)) found.push_back(std::move(path));
        }
    }
    // By the name alone the system looks in its own folders.
    const std::string plain = pattern.substr(0, pattern.find('*')) + pattern.substr(pattern.find('*') + 1);
    if (ends_with(plain, ".so")) found.push_back(plain + ".1");
    found.push_back(plain);
    return found;
}

std::string open_first(const RuntimeLibrary& library, const std::string& option,
                       const std::function<std::string(const std::string&)>& open) {
    const std::vector<std::string> candidates = candidates_of(library, option);
    const bool is_named = !option.empty() || environment(library.variable);
    std::string why;
    for (const std::string& candidate : candidates) {
        const std::string problem = open(candidate);
        if (problem.empty()) return candidate;
        // What is wrong with a library that is there says more than that others are not. A name alone is the
        // system's to find, and says nothing of the current folder.
        if (why.empty() && (is_named || name_of(candidate) != candidate) && is_there(candidate)) why = problem;
    }
    std::string message = std::string(library.runtime) + " was not found";
    if (!why.empty()) {
        message = std::string(library.runtime) + " cannot be used: " + on_one_line(why);
    } else if (is_named) {
        message += ": there is no " + candidates.front();
    } else {
        const std::string here = own_folder();
        message += ": looked for " + library_pattern(library.stem) + " in " + joined(joined(folder_of(here), "lib"), "ghostclas") +
                   ", " + joined(here, "ghostclas") + ", " + here + " and where the system has its libraries";
    }
    throw Error(Kind::missing, "missing_runtime", message + "; " + library.hint);
}

std::unique_ptr<Engine> open_engine(const Bundle& bundle, const EngineOptions& options) {
    if (!options.precision.empty() &&
        std::find(precisions.begin(), precisions.end(), options.precision) == precisions.end()) {
        throw Error(Kind::usage, "usage",
                    "there is no precision " + quoted(options.precision) + "; there are: fp32, fp16, bf16, int8");
    }
    if (options.threads < 0 || options.concurrency < 1) {
        throw Error(Kind::usage, "usage", "threads must be at least 1, got " + std::to_string(options.threads));
    }
    const bool is_known = std::find(engines.begin(), engines.end(), options.engine) != engines.end();
    if (options.engine != "auto" && !is_known) {
        throw Error(Kind::usage, "usage",
                    "there is no engine " + quoted(options.engine) + " in the C++ engine; there are: auto, onnxruntime, openvino");
    }
    // ONNX Runtime withstood every damaged file that was tried, so it is what opens files from elsewhere.
    const std::string engine = options.engine == "auto" ? "onnxruntime" : options.engine;
    const FileEntry* entry = best_file(bundle, options.precision);
    if (entry == nullptr) entry = &bundle.file("onnx", options.precision);
    return engine == "openvino" ? open_openvino(bundle, *entry, options) : open_onnxruntime(bundle, *entry, options);
}

}  // namespace ghostclas
