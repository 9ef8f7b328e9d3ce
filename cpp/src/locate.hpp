// What a word after --model means: a bundle, a training run, or the built-in model.
#pragma once

#include <string>

namespace ghostclas {

// The path of the bundle. Throws Error of Kind::usage or bundle.
std::string locate_bundle(const std::string& word);

}  // namespace ghostclas
