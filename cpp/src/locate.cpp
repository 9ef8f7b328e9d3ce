#include "locate.hpp"

#include "files.hpp"
#include "ghostclas/classifier.hpp"
#include "ghostclas/error.hpp"
#include "manifest.hpp"
#include "strings.hpp"

namespace ghostclas {
namespace {

constexpr const char* built_in = "ghostnet_x1_0_tiny200";
constexpr const char* variable = "GHOSTCLAS_DEFAULT_MODEL";

bool holds_manifest(const std::string& folder) { return is_file(joined(folder, manifest_name)); }

}  // namespace

std::string default_bundle() {
    if (const auto chosen = environment(variable)) return *chosen;
    const std::string here = own_folder();
    const std::string beside = joined(joined(joined(folder_of(here), "share"), "ghostclas"), built_in);
    // Without a folder of its own it would be one of the current folder.
    if (!here.empty() && holds_manifest(beside)) return beside;
    throw Error(Kind::usage, "usage",
                "the built-in model is not installed: there is no " + beside + "; give a bundle, or name one by " + variable);
}

std::string locate_bundle(const std::string& word) {
    if (word == "default") return default_bundle();
    const std::string path = plain_path(word);
    if (!word.empty() && is_folder(path)) {
        if (holds_manifest(path)) return path;
        const std::string inner = joined(path, "bundle");
        if (holds_manifest(inner)) return inner;
        if (is_folder(joined(path, "checkpoints"))) {
            throw Error(Kind::bundle, "bundle",
                        path + " is a run that has not finished: it has no bundle yet\n       finish it with: ghostclas train "
                               "--output " + path + " --resume");
        }
        throw Error(Kind::bundle, "bundle",
                    path + " is neither a bundle nor a run: it has no manifest.json and no bundle directory");
    }
    if (!word.empty() && is_file(path)) {
        const std::string lower = folded(path);
        if (ends_with(lower, ".zip")) return path;
        if (ends_with(lower, ".onnx")) {
            throw Error(Kind::usage, "usage", path + " is an ONNX file, not a bundle: it does not name its classes");
        }
        throw Error(Kind::usage, "usage",
                    path + " is no bundle (a directory with manifest.json, or such a directory in a .zip)\n       make one of "
                           "weights with: ghostclas export --model " + path + " --output BUNDLE");
    }
    throw Error(Kind::usage, "usage",
                "no model " + quoted(word) + ": there is no such path; a model is a bundle (a folder or a .zip), a run, or default");
}

}  // namespace ghostclas
