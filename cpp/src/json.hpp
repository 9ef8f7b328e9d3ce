// JSON as Python's json module reads and prints it.
//
// A manifest is refused with the sentence that Python gives, which names lines, columns and characters, and the
// digest of old manifests is over what Python prints. No library of JSON for C++ does either.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ghostclas {

class Json;
using JsonArray = std::vector<Json>;
using JsonObject = std::vector<std::pair<std::string, Json>>;

// A whole number of any size, by its digits.
struct JsonInteger {
    std::string digits;
};

// A value. Objects keep the order of their keys.
class Json {
public:
    using Value = std::variant<std::nullptr_t, bool, JsonInteger, double, std::string, JsonArray, JsonObject>;

    Json() = default;
    explicit Json(Value value) : value_(std::move(value)) {}

    template <typename T>
    const T* as() const {
        return std::get_if<T>(&value_);
    }
    template <typename T>
    T* as() {
        return std::get_if<T>(&value_);
    }
    bool is_null() const { return as<std::nullptr_t>() != nullptr; }

    // The value of a key; null if this is no object or has no such key.
    const Json* find(std::string_view key) const;

private:
    Value value_ = nullptr;
};

// What is wrong, in the words of Python's json module.
class JsonProblem : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Reads a document. Repeated keys, numbers that are not finite, and integers of over 4,300 digits are refused. Values
// that lie 201 levels deep, which the second reading refuses, are read and not kept.
// Throws JsonProblem.
Json parse_json(std::string_view text);

struct JsonStyle {
    bool sorted = false;
    bool blanks = true;  // ", " and ": "
};

// Prints as Python's json.dumps does, in ASCII.
std::string dump_json(const Json& value, const JsonStyle& style);

// Why pydantic's parser refuses what dump_json printed of a document that Python's has read: more than 200 levels,
// or half of a surrogate pair. Empty where it does not.
std::string second_reading_problem(const Json& value);

// A string in quotes, as pydantic prints it.
void append_json_string(std::string& to, std::string_view text);

// A float as pydantic prints it: the shortest digits that read back, 1e-7 and not 1e-07.
void append_json_number(std::string& to, double value);

}  // namespace ghostclas
