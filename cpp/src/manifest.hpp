// manifest.json: what a bundle says of itself, and every rule that it must keep.
//
// The refusals are those of Python's ghostclas.bundle.manifest, in the same words and for the same of several reasons.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pixels.hpp"

namespace ghostclas {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* restore_hint = "copy or export the bundle again";
inline constexpr std::uint64_t max_manifest = 4U << 20;

// An input or output of a model file. A size of nothing is the batch, of any length.
struct TensorSpec {
    std::string name;
    std::string dtype;   // "uint8", "int8", "float16", "float32"
    std::string layout;  // "NHWC", "NCHW", "NC"
    std::vector<std::optional<std::int64_t>> shape;
    std::string shown;  // the shape as messages have it: a size may be larger than any number here

    // The size along an axis of the layout.
    std::optional<std::int64_t> size(char letter) const;
};

// [None, 32, 32, 3]
std::string shape_text(const std::vector<std::optional<std::int64_t>>& shape);

struct FileEntry {
    std::string path;
    std::string format;
    std::string precision = "fp32";
    std::string sha256;
    std::uint64_t bytes = 0;
    std::optional<TensorSpec> input;
    std::optional<TensorSpec> output;
    std::optional<TensorSpec> features;
};

// Whether the answers of an engine on a file were right.
struct FileParity {
    std::string file;
    std::string engine;
    std::optional<std::string> arithmetic;
    bool ok = false;
};

struct Manifest {
    std::string name;
    std::vector<std::string> classes;
    PreprocessSpec preprocess;
    double temperature = 1.0;
    double unknown_below = 0.0;
    std::vector<FileEntry> files;
    std::vector<FileParity> parity;
};

// Reads manifest.json of the bundle at `path`. Throws Error of Kind::bundle.
Manifest parse_manifest(std::string_view content, const std::string& path);

// Why a name could mean something outside of a bundle on some system; empty if it could not.
std::string name_problem(std::string_view name);

}  // namespace ghostclas
