#include "manifest.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <unordered_set>
#include <utility>

#include "ghostclas/error.hpp"
#include "json.hpp"
#include "sha256.hpp"
#include "strings.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

constexpr std::size_t max_classes = 100000;
constexpr std::size_t max_files = 1000;
constexpr std::size_t max_values = 50000;
constexpr std::size_t max_remembered = 100000;
constexpr std::size_t max_name = 1000;
constexpr std::size_t max_depth = 32;
constexpr std::size_t shown = 80;
constexpr std::string_view digest_mark = "\"digest\": \"";
constexpr std::size_t digest_size = 64;
constexpr int schema_version = 2;

// A rule that the fields of an object break together: a ValueError in Python.
class RuleProblem : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// ------------------------------------------------------------------ the shape of values
//
// Python's pydantic collects every problem in the order of the fields, and the message names the first and counts
// the others.

class Checks {
  public:
    void add(const std::string& what) {
        if (count_++ == 0) {
            what_ = what;
            where_ = where();
        }
    }
    std::size_t count() const { return count_; }

    // Runs `check` one level below: a key or an index.
    void within(std::string level, const std::function<void()>& check) {
        path_.push_back(std::move(level));
        check();
        path_.pop_back();
    }

    std::string first_problem() const {
        std::string text = where_.empty() ? "" : std::string(first_of(where_, shown)) + ": ";
        text += first_of(what_, 5 * shown);
        if (count_ > 1) text += " (and " + std::to_string(count_ - 1) + " more)";
        return text;
    }

  private:
    std::string where() const {
        std::string text;
        for (const std::string& level : path_) text += (text.empty() ? "" : ".") + level;
        return text;
    }

    std::vector<std::string> path_;
    std::size_t count_ = 0;
    std::string what_;
    std::string where_;
};

struct Field {
    std::string_view name;
    bool is_required;
    std::function<void(const Json&)> read;
};

// Reads the fields of an object, and then `rule` if all of them are right.
void read_object(Checks& checks, const Json& value, const std::vector<Field>& fields,
                 const std::function<void()>& rule = nullptr) {
    const auto* object = value.as<JsonObject>();
    if (object == nullptr) return checks.add("Input should be an object");
    const std::size_t before = checks.count();
    for (const Field& field : fields) {
        checks.within(std::string(field.name), [&] {
            if (const Json* found = value.find(field.name)) {
                field.read(*found);
            } else if (field.is_required) {
                checks.add("Field required");
            }
        });
    }
    for (const auto& [key, unused] : *object) {
        const auto known = [&key = key](const Field& field) { return field.name == key; };
        if (std::none_of(fields.begin(), fields.end(), known)) {
            checks.within(key, [&] { checks.add("Extra inputs are not permitted"); });
        }
    }
    if (!rule || checks.count() != before) return;
    try {
        rule();
    } catch (const RuleProblem& problem) {
        checks.add(problem.what());
    }
}

void read_array(Checks& checks, const Json& value, const std::function<void(const Json&)>& read) {
    const auto* array = value.as<JsonArray>();
    if (array == nullptr) return checks.add("Input should be a valid array");
    std::size_t index = 0;
    for (const Json& item : *array) checks.within(std::to_string(index++), [&] { read(item); });
}

bool read_text(Checks& checks, const Json& value, std::string& to) {
    const auto* text = value.as<std::string>();
    if (text == nullptr) {
        checks.add("Input should be a valid string");
        return false;
    }
    to = *text;
    return true;
}

void read_matching(Checks& checks, const Json& value, std::string& to, const char* pattern, bool (*matches)(std::string_view)) {
    if (read_text(checks, value, to) && !matches(to)) checks.add(std::string("String should match pattern '") + pattern + "'");
}

void read_one_of(Checks& checks, const Json& value, std::string& to, std::initializer_list<const char*> words) {
    const auto* text = value.as<std::string>();
    if (text != nullptr && std::find(words.begin(), words.end(), *text) != words.end()) {
        to = *text;
        return;
    }
    std::string listed;
    std::size_t index = 0;
    for (const char* word : words) {
        listed += index == 0 ? "" : index + 1 == words.size() ? " or " : ", ";
        listed += std::string("'") + word + "'";
        ++index;
    }
    checks.add("Input should be " + listed);
}

void read_flag(Checks& checks, const Json& value, bool& to) {
    if (const auto* flag = value.as<bool>()) {
        to = *flag;
    } else {
        checks.add("Input should be a valid boolean");
    }
}

struct Limits {
    std::optional<std::int64_t> at_least{};
    std::optional<std::int64_t> at_most{};
    std::optional<std::int64_t> below{};
    std::optional<std::int64_t> multiple_of{};
};

// The number; of one that no 64 bits hold, the nearest that they do.
std::int64_t nearest(const JsonInteger& integer) {
    std::int64_t value = 0;
    const std::string& digits = integer.digits;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (read.ec == std::errc{}) return value;
    return digits[0] == '-' ? INT64_MIN : INT64_MAX;
}

bool fits(const JsonInteger& integer) {
    std::int64_t value = 0;
    const std::string& digits = integer.digits;
    return std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc{};
}

std::optional<std::int64_t> read_integer(Checks& checks, const Json& value, const Limits& limits) {
    const auto* integer = value.as<JsonInteger>();
    if (integer == nullptr) {
        checks.add("Input should be a valid integer");
        return std::nullopt;
    }
    const std::int64_t number = nearest(*integer);
    // Of a multiple of 32, the last five digits decide: 100,000 is one.
    const std::string last = integer->digits.substr(integer->digits.size() - std::min<std::size_t>(integer->digits.size(), 15));
    if (limits.multiple_of && std::strtoll(last.c_str(), nullptr, 10) % *limits.multiple_of != 0) {
        checks.add("Input should be a multiple of " + std::to_string(*limits.multiple_of));
    } else if (limits.at_most && number > *limits.at_most) {
        checks.add("Input should be less than or equal to " + std::to_string(*limits.at_most));
    } else if (limits.below && number >= *limits.below) {
        checks.add("Input should be less than " + std::to_string(*limits.below));
    } else if (limits.at_least && number < *limits.at_least) {
        checks.add("Input should be greater than or equal to " + std::to_string(*limits.at_least));
    } else {
        return number;
    }
    return std::nullopt;
}

// A limit of a number with a fraction, and what is said where it is broken.
struct Bound {
    bool (*keeps)(double);
    const char* otherwise;
};

bool read_number(Checks& checks, const Json& value, double& to, std::initializer_list<Bound> bounds = {}) {
    if (const auto* real = value.as<double>()) {
        to = *real;
    } else if (const auto* integer = value.as<JsonInteger>(); integer != nullptr && fits(*integer)) {
        to = static_cast<double>(nearest(*integer));
    } else {
        checks.add("Input should be a valid number");
        return false;
    }
    for (const Bound& bound : bounds) {
        if (!bound.keeps(to)) {
            checks.add(std::string("Input should be ") + bound.otherwise);
            return false;
        }
    }
    return true;
}

void read_triple(Checks& checks, const Json& value, std::array<double, 3>& to) {
    const auto* array = value.as<JsonArray>();
    if (array == nullptr) return checks.add("Input should be a valid array");
    if (array->size() > to.size()) {
        return checks.add("Tuple should have at most 3 items after validation, not " + std::to_string(array->size()));
    }
    for (std::size_t i = 0; i < to.size(); ++i) {
        checks.within(std::to_string(i), [&] {
            if (i < array->size()) {
                read_number(checks, (*array)[i], to[i]);
            } else {
                checks.add("Field required");
            }
        });
    }
}

// Calls `read` unless the value is null.
std::function<void(const Json&)> nullable(std::function<void(const Json&)> read) {
    return [read = std::move(read)](const Json& value) {
        if (!value.is_null()) read(value);
    };
}

// ------------------------------------------------------------------ the parts of a manifest

bool is_word(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
}
bool is_family(std::string_view text) { return is_word(text) && text[0] >= 'a' && text[0] <= 'z'; }
bool is_sha256(std::string_view text) {
    return text.size() == digest_size && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9');
    });
}

const Limits natural{1, {}, {}, {}};

void read_tensor(Checks& checks, const Json& value, TensorSpec& tensor) {
    read_object(
        checks, value,
        {{"name", true, [&](const Json& v) { read_text(checks, v, tensor.name); }},
         {"dtype", true, [&](const Json& v) { read_one_of(checks, v, tensor.dtype, {"uint8", "int8", "float16", "float32"}); }},
         {"layout", true, [&](const Json& v) { read_one_of(checks, v, tensor.layout, {"NHWC", "NCHW", "NC"}); }},
         {"shape", true,
          [&](const Json& v) {
              read_array(checks, v, [&](const Json& size) {
                  tensor.shape.push_back(size.is_null() ? std::nullopt : read_integer(checks, size, {}));
                  const auto* integer = size.as<JsonInteger>();
                  tensor.shown += (tensor.shown.empty() ? "" : ", ") + (integer == nullptr ? "None" : integer->digits);
              });
          }}},
        [&] {
            if (tensor.shape.size() != tensor.layout.size()) {
                throw RuleProblem("layout " + tensor.layout + " has " + std::to_string(tensor.layout.size()) +
                                  " sizes, got [" + tensor.shown + "]");
            }
        });
}

Field tensor_field(Checks& checks, std::string_view name, std::optional<TensorSpec>& to) {
    return {name, false, nullable([&](const Json& v) { read_tensor(checks, v, to.emplace()); })};
}

void read_file_entry(Checks& checks, const Json& value, FileEntry& entry) {
    read_object(
        checks, value,
        {{"path", true, [&](const Json& v) { read_text(checks, v, entry.path); }},
         {"format", true, [&](const Json& v) { read_matching(checks, v, entry.format, "^[a-z0-9_]+$", is_word); }},
         {"precision", false, [&](const Json& v) { read_one_of(checks, v, entry.precision, {"fp32", "fp16", "bf16", "int8"}); }},
         {"sha256", true, [&](const Json& v) { read_matching(checks, v, entry.sha256, "^[0-9a-f]{64}$", is_sha256); }},
         {"bytes", true,
          [&](const Json& v) {
              const auto size = read_integer(checks, v, {0, {}, std::int64_t{1} << 53, {}});
              entry.bytes = static_cast<std::uint64_t>(size.value_or(0));
          }},
         tensor_field(checks, "input", entry.input), tensor_field(checks, "output", entry.output),
         tensor_field(checks, "features", entry.features)},
        [&] {
            const std::string problem = name_problem(entry.path);
            if (!problem.empty()) throw RuleProblem(problem);
            if (folded(entry.path) == manifest_name) {
                throw RuleProblem(std::string(manifest_name) + " cannot list itself");
            }
            if (entry.input.has_value() != entry.output.has_value()) {
                throw RuleProblem(entry.path + " has only one of input and output");
            }
            if (entry.features && (!entry.output || entry.features->layout != "NC")) {
                throw RuleProblem(entry.path + " has features that are not [N, D] beside its logits");
            }
        });
}

void read_spec(Checks& checks, const Json& value, std::string& num_classes) {
    std::string text;
    double real = 0;
    read_object(checks, value,
                {{"name", true, [&](const Json& v) { read_text(checks, v, text); }},
                 {"family", false, [&](const Json& v) { read_matching(checks, v, text, "^[a-z][a-z0-9_]*$", is_family); }},
                 {"width", false,
                  [&](const Json& v) {
                      read_number(checks, v, real,
                                  {{[](double x) { return x <= 8; }, "less than or equal to 8"},
                                   {[](double x) { return x > 0; }, "greater than 0"}});
                  }},
                 {"flavour", false, [&](const Json& v) { read_one_of(checks, v, text, {"paddleclas", "original"}); }},
                 {"num_classes", false,
                  [&](const Json& v) {
                      if (read_integer(checks, v, natural)) num_classes = v.as<JsonInteger>()->digits;
                  }},
                 {"dropout", false, [&](const Json& v) {
                      read_number(checks, v, real,
                                  {{[](double x) { return x < 1; }, "less than 1"},
                                   {[](double x) { return x >= 0; }, "greater than or equal to 0"}});
                  }}});
}

void read_size(Checks& checks, const Json& value, PreprocessSpec& spec) {
    const auto* array = value.as<JsonArray>();
    if (array == nullptr) return checks.add("Input should be a valid array");
    if (array->size() > 2) {
        return checks.add("Tuple should have at most 2 items after validation, not " + std::to_string(array->size()));
    }
    std::size_t index = 0;
    for (int* side : {&spec.width, &spec.height}) {
        checks.within(std::to_string(index), [&] {
            if (index >= array->size()) return checks.add("Field required");
            const auto read = read_integer(checks, (*array)[index], {1, 8192, {}, {}});
            *side = static_cast<int>(read.value_or(0));
        });
        ++index;
    }
}

// What a library does, with which interpolations.
void check_library(const std::string& library, const std::string& interpolation, const PreprocessSpec& spec) {
    if (spec.width > 0 && (library.empty() || spec.short_side != std::min(spec.width, spec.height))) {
        throw RuleProblem("size [" + std::to_string(spec.width) + ", " + std::to_string(spec.height) +
                          "] needs a library, and its smaller side as short_side");
    }
    if (library.empty()) return;
    const bool is_pillow = library == "pillow";
    const bool known = interpolation == "bilinear" || (is_pillow && interpolation != "nearest");
    if (known && spec.antialias == is_pillow) return;
    throw RuleProblem(library + " scales by " + (is_pillow ? "bilinear or bicubic or lanczos" : "bilinear") +
                      " with antialias " + (is_pillow ? "true" : "false") + ", not by " + interpolation + " with " +
                      (spec.antialias ? "true" : "false"));
}

void read_resize(Checks& checks, const Json& value, PreprocessSpec& spec) {
    std::string interpolation = "bilinear";
    std::string library;
    read_object(checks, value,
                {{"short_side", false,
                  [&](const Json& v) {
                      const auto side = read_integer(checks, v, {1, 8192, {}, {}});
                      spec.short_side = static_cast<int>(side.value_or(256));
                  }},
                 {"interpolation", false,
                  [&](const Json& v) { read_one_of(checks, v, interpolation, {"nearest", "bilinear", "bicubic", "lanczos"}); }},
                 {"antialias", false, [&](const Json& v) { read_flag(checks, v, spec.antialias); }},
                 {"library", false, nullable([&](const Json& v) { read_one_of(checks, v, library, {"opencv", "pillow"}); })},
                 {"size", false, nullable([&](const Json& v) { read_size(checks, v, spec); })}},
                [&] { check_library(library, interpolation, spec); });
    spec.library = library == "opencv"   ? ResizeLibrary::opencv
                   : library == "pillow" ? ResizeLibrary::pillow
                                         : ResizeLibrary::none;
    spec.interpolation = interpolation == "nearest"   ? Interpolation::nearest
                         : interpolation == "bicubic" ? Interpolation::bicubic
                         : interpolation == "lanczos" ? Interpolation::lanczos
                                                      : Interpolation::bilinear;
}

void read_preprocess(Checks& checks, const Json& value, PreprocessSpec& spec) {
    std::array<double, 3> mean{};
    std::array<double, 3> deviation{1, 1, 1};
    std::string colour;
    read_object(
        checks, value,
        {{"resize", false, [&](const Json& v) { read_resize(checks, v, spec); }},
         {"crop", false,
          [&](const Json& v) {
              const auto crop = read_integer(checks, v, {32, 8192, {}, 32});
              spec.crop = static_cast<int>(crop.value_or(224));
          }},
         {"mean", false, [&](const Json& v) { read_triple(checks, v, mean); }},
         {"std", false, [&](const Json& v) { read_triple(checks, v, deviation); }},
         {"color", false, [&](const Json& v) { read_one_of(checks, v, colour, {"RGB"}); }},
         {"exif", false, [&](const Json& v) { read_flag(checks, v, spec.exif); }}},
        [&] {
            if (spec.crop > spec.short_side) {
                throw RuleProblem("crop " + std::to_string(spec.crop) + " is larger than resize.short_side " +
                                  std::to_string(spec.short_side));
            }
            if (*std::min_element(deviation.begin(), deviation.end()) <= 0) {
                throw RuleProblem("std must be positive, got (" + number(deviation[0]) + ", " + number(deviation[1]) +
                                  ", " + number(deviation[2]) + ")");
            }
        });
}

void read_postprocess(Checks& checks, const Json& value, Manifest& manifest) {
    read_object(checks, value,
                {{"softmax", false,
                  [&](const Json& v) {
                      const auto* flag = v.as<bool>();
                      const auto* integer = v.as<JsonInteger>();
                      const auto* real = v.as<double>();
                      // 1 equals true in Python.
                      const bool is_true = (flag != nullptr && *flag) || (integer != nullptr && integer->digits == "1") ||
                                           (real != nullptr && *real == 1.0);
                      if (!is_true) checks.add("Input should be True");
                  }},
                 {"temperature", false,
                  [&](const Json& v) {
                      read_number(checks, v, manifest.temperature,
                                  {{[](double x) { return x <= 100; }, "less than or equal to 100"},
                                   {[](double x) { return x >= 0.01; }, "greater than or equal to 0.01"}});
                  }},
                 {"unknown_below", false, [&](const Json& v) {
                      read_number(checks, v, manifest.unknown_below,
                                  {{[](double x) { return x <= 1; }, "less than or equal to 1"},
                                   {[](double x) { return x >= 0; }, "greater than or equal to 0"}});
                  }}});
}

void read_metric(Checks& checks, const Json& value) {
    std::string text;
    double real = 0;
    const auto read_real = [&](const Json& v) { read_number(checks, v, real); };
    read_object(checks, value,
                {{"dataset", true, [&](const Json& v) { read_text(checks, v, text); }},
                 {"images", true, [&](const Json& v) { read_integer(checks, v, {}); }},
                 {"top1", true, read_real},
                 {"top5", false, nullable(read_real)},
                 {"through", true, [&](const Json& v) { read_text(checks, v, text); }}});
}

void read_parity(Checks& checks, const Json& value, FileParity& parity) {
    double real = 0;
    const auto read_real = [&](const Json& v) { read_number(checks, v, real); };
    read_object(checks, value,
                {{"file", true, [&](const Json& v) { read_text(checks, v, parity.file); }},
                 {"engine", true, [&](const Json& v) { read_text(checks, v, parity.engine); }},
                 {"arithmetic", false,
                  nullable([&](const Json& v) {
                      read_one_of(checks, v, parity.arithmetic.emplace(), {"fp32", "fp16", "bf16", "int8"});
                  })},
                 {"images", true, [&](const Json& v) { read_integer(checks, v, {}); }},
                 {"max_abs", true, read_real},
                 {"mean_abs", true, read_real},
                 {"top1_agreement", true, read_real},
                 {"decoded_max_abs", false, nullable(read_real)},
                 {"tolerance", true, read_real},
                 {"ok", true, [&](const Json& v) { read_flag(checks, v, parity.ok); }}});
}

// A 16-digit hash of the ordered class names.
std::string label_hash(const std::vector<std::string>& classes) {
    Sha256 hash;
    // With the NUL behind each.
    for (const std::string& name : classes) hash.update(name.c_str(), name.size() + 1);
    return hash.hex().substr(0, 16);
}

void check_shapes(const Manifest& manifest, const FileEntry& entry) {
    if (!entry.input || !entry.output) return;
    const auto classes = static_cast<std::int64_t>(manifest.classes.size());
    if (entry.output->layout != "NC" || entry.output->size('C') != classes) {
        throw RuleProblem(entry.path + " has outputs [" + entry.output->shown + "] for " +
                          std::to_string(classes) + " classes");
    }
    const std::int64_t crop = manifest.preprocess.crop;
    const TensorSpec& input = *entry.input;
    if (input.layout == "NC" || input.size('H') != crop || input.size('W') != crop || input.size('C') != 3) {
        throw RuleProblem(entry.path + " takes [" + input.shown + "], but preprocessing gives " +
                          std::to_string(crop) + " x " + std::to_string(crop) + " RGB");
    }
}

void check_agreement(const Manifest& manifest, const std::string& num_classes, const std::string& hash) {
    const std::vector<std::string>& classes = manifest.classes;
    if (num_classes != std::to_string(classes.size())) {
        throw RuleProblem("it lists " + std::to_string(classes.size()) + " classes for a network with " + num_classes +
                          " outputs");
    }
    std::unordered_set<std::string_view> seen;
    std::unordered_set<std::string_view> repeated;
    for (const std::string& name : classes) {
        if (!seen.insert(name).second) repeated.insert(name);
    }
    for (const std::string& name : classes) {
        if (repeated.count(name) != 0) {
            throw RuleProblem("several of its classes are called " + shortened(quoted(name)));
        }
    }
    for (const std::string& name : classes) {
        if (on_one_line(name).empty()) throw RuleProblem("one of its classes has no name");
    }
    const std::string right = label_hash(classes);
    if (right != hash) {
        throw RuleProblem("label_hash is " + hash + ", but the names in classes have " + right +
                          "; some were changed, reordered or lost");
    }
    std::unordered_set<std::string> paths;
    for (const FileEntry& entry : manifest.files) {
        if (!paths.insert(folded(entry.path)).second) throw RuleProblem("it lists " + entry.path + " twice");
        check_shapes(manifest, entry);
    }
}

void read_manifest(Checks& checks, const Json& fields, Manifest& manifest) {
    std::string num_classes = "1000";
    std::string hash;
    read_object(
        checks, fields,
        {{"schema_version", false,
          [&](const Json& v) {
              const auto* integer = v.as<JsonInteger>();
              const auto* real = v.as<double>();
              const bool is_right = (integer != nullptr && integer->digits == std::to_string(schema_version)) ||
                                    (real != nullptr && *real == schema_version);
              if (!is_right) checks.add("Input should be " + std::to_string(schema_version));
          }},
         {"name", true,
          [&](const Json& v) {
              if (!read_text(checks, v, manifest.name)) return;
              const std::size_t length = length_of(manifest.name);
              if (length > 200) checks.add("String should have at most 200 characters");
              if (length < 1) checks.add("String should have at least 1 character");
          }},
         {"spec", true, [&](const Json& v) { read_spec(checks, v, num_classes); }},
         {"classes", true,
          [&](const Json& v) {
              read_array(checks, v, [&](const Json& name) { read_text(checks, name, manifest.classes.emplace_back()); });
              if (v.as<JsonArray>() != nullptr && manifest.classes.empty()) {
                  checks.add("Tuple should have at least 1 item after validation, not 0");
              }
          }},
         {"label_hash", true, [&](const Json& v) { read_text(checks, v, hash); }},
         {"preprocess", true, [&](const Json& v) { read_preprocess(checks, v, manifest.preprocess); }},
         {"postprocess", false, [&](const Json& v) { read_postprocess(checks, v, manifest); }},
         {"files", true,
          [&](const Json& v) {
              read_array(checks, v, [&](const Json& entry) { read_file_entry(checks, entry, manifest.files.emplace_back()); });
          }},
         {"metrics", false, [&](const Json& v) { read_array(checks, v, [&](const Json& metric) { read_metric(checks, metric); }); }},
         {"provenance", false,
          [&](const Json& v) {
              if (v.as<JsonObject>() == nullptr) checks.add("Input should be an object");
          }},
         {"parity", false,
          [&](const Json& v) {
              read_array(checks, v, [&](const Json& parity) { read_parity(checks, parity, manifest.parity.emplace_back()); });
          }}},
        [&] { check_agreement(manifest, num_classes, hash); });
}

// ------------------------------------------------------------------ limits and digests

std::size_t entries_of(const Json& value) {
    if (const auto* array = value.as<JsonArray>()) return array->size();
    const auto* object = value.as<JsonObject>();
    return object == nullptr ? 0 : object->size();
}

// Counts all values in `waiting`, with those inside of them.
void check_values(std::vector<const Json*> waiting, std::size_t count, std::size_t most, const char* name) {
    const auto check = [&] {
        if (count > most) {
            throw RuleProblem(std::string(name) + " has more than " + thousands(most) + " values");
        }
    };
    check();
    while (!waiting.empty()) {
        const Json& value = *waiting.back();
        waiting.pop_back();
        count += entries_of(value);
        check();
        if (const auto* array = value.as<JsonArray>()) {
            for (const Json& item : *array) waiting.push_back(&item);
        } else if (const auto* object = value.as<JsonObject>()) {
            for (const auto& field : *object) waiting.push_back(&field.second);
        }
    }
}

void check_counts(const Json& fields) {
    for (const auto& [key, most] : {std::pair{"classes", max_classes}, std::pair{"files", max_files}}) {
        const Json* value = fields.find(key);
        if (value != nullptr && entries_of(*value) > most) {
            throw RuleProblem(std::string(key) + " has " + thousands(entries_of(*value)) +
                              " entries; at most " + thousands(most) + " are allowed");
        }
    }
    const Json* classes = fields.find("classes");
    if (const auto* names = classes == nullptr ? nullptr : classes->as<JsonArray>()) {
        std::size_t index = 0;
        for (const Json& name : *names) {
            if (name.as<std::string>() == nullptr) {
                throw RuleProblem("classes." + std::to_string(index) + " is no text");
            }
            ++index;
        }
    }
    std::vector<const Json*> shape;
    for (const auto& [key, value] : *fields.as<JsonObject>()) {
        if (key != "classes" && key != "provenance") shape.push_back(&value);
    }
    const std::size_t count = shape.size();
    check_values(std::move(shape), count, max_values, "it");
    if (const Json* provenance = fields.find("provenance")) check_values({provenance}, 0, max_remembered, "provenance");
}

// The digest of version 2: the sha256 of the file with zeros in its place. Empty if there is no place.
std::string digest_of_bytes(std::string_view content) {
    const std::size_t mark = content.find(digest_mark);
    if (mark == std::string_view::npos) return {};
    const std::size_t begin = mark + digest_mark.size();
    const std::string zeros(digest_size, '0');
    Sha256 hash;
    hash.update(content.data(), begin);
    hash.update(zeros.data(), zeros.size());
    const std::string_view after = content.substr(std::min(begin + digest_size, content.size()));
    hash.update(after.data(), after.size());
    return hash.hex();
}

// Of version 1: the sha256 of the fields as Python prints them.
std::string digest_of_fields(const Json& fields) {
    const std::string text = dump_json(fields, {true, false});
    return sha256_of(text.data(), text.size());
}

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
    throw Error(Kind::bundle, "bundle", path + ": " + what);
}

Json read_json(std::string_view content, const std::string& path) {
    try {
        const std::string problem = utf8_problem(content);
        if (!problem.empty()) throw JsonProblem(problem);
        return parse_json(content);
    } catch (const JsonProblem& problem) {
        refuse(path, std::string(manifest_name) + " is not valid JSON (" + on_one_line(problem.what()) + "); " + restore_hint);
    }
}

}  // namespace

std::optional<std::int64_t> TensorSpec::size(char letter) const { return shape[layout.find(letter)]; }

std::string shape_text(const std::vector<std::optional<std::int64_t>>& shape) {
    std::string text = "[";
    for (const auto& size : shape) {
        if (text.size() > 1) text += ", ";
        text += size ? std::to_string(*size) : "None";
    }
    return text + "]";
}

std::string name_problem(std::string_view name) {
    const auto levels = static_cast<std::size_t>(std::count(name.begin(), name.end(), '/')) + 1;
    const std::size_t length = length_of(name);
    if (length > max_name || levels > max_depth) {
        return "the name " + shortened(quoted(name)) + " has " + thousands(length) +
               " characters in " + thousands(levels) + " levels; 1,000 in 32 are allowed";
    }
    bool is_plain = std::none_of(name.begin(), name.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || std::string_view("\\:*?\"<>|").find(c) != std::string_view::npos;
    });
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = std::min(name.find('/', at), name.size());
        const std::string_view part = name.substr(at, end - at);
        is_plain = is_plain && !part.empty() && part != "." && part != "..";
        at = end + 1;
    }
    return is_plain ? "" : quoted(name) + " is no plain relative path inside the bundle";
}

Manifest parse_manifest(std::string_view content, const std::string& path) {
    const std::string name = manifest_name;
    if (content.size() > max_manifest) {
        refuse(path, name + " is longer than " + thousands(max_manifest) +
                         " bytes, which no manifest is");
    }
    Json fields = read_json(content, path);
    auto* object = fields.as<JsonObject>();
    if (object == nullptr) refuse(path, name + " is not a JSON object; " + restore_hint);

    const Json* version = fields.find("schema_version");
    const auto* version_number = version == nullptr ? nullptr : version->as<JsonInteger>();
    if (version_number != nullptr && nearest(*version_number) > schema_version) {
        refuse(path, "made by a newer ghostclas (schema_version " + shortened(version_number->digits) +
                         "; this one reads up to " + std::to_string(schema_version) +
                         "); upgrade with: pip install -U ghostclas");
    }
    const bool is_first_version = version_number != nullptr && version_number->digits == "1";

    std::optional<std::string> digest;
    const auto is_digest = [](const auto& field) { return field.first == "digest"; };
    const auto found = std::find_if(object->begin(), object->end(), is_digest);
    if (found != object->end()) {
        if (const auto* text = found->second.template as<std::string>()) digest = *text;
        object->erase(found);
    }

    Manifest manifest;
    Checks checks;
    std::string right_digest;
    try {
        check_counts(fields);
        if (is_first_version) {
            right_digest = digest_of_fields(fields);
            for (auto& field : *object) {
                if (field.first == "schema_version") field.second = Json(JsonInteger{std::to_string(schema_version)});
            }
        } else {
            right_digest = digest_of_bytes(content);
        }
        const std::string problem = second_reading_problem(fields);
        if (!problem.empty()) throw RuleProblem(problem);
    } catch (const RuleProblem& problem) {
        refuse(path, name + " does not verify: " + on_one_line(problem.what()));
    }
    read_manifest(checks, fields, manifest);
    if (checks.count() != 0) refuse(path, name + " does not verify: " + checks.first_problem());
    if (!digest || right_digest.empty() || *digest != right_digest) {
        refuse(path, name + " was changed by hand or damaged (its digest does not match); " + restore_hint +
                         ", and make changes with ghostclas.bundle.update_manifest");
    }
    return manifest;
}

}  // namespace ghostclas
