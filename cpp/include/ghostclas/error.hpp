// The one exception of the library: a sentence for people, a code for programs, the command line's exit code.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace ghostclas {

// The kinds of Python's exception tree (errors.py) with the exit code of each.
enum class Kind {
    error = 1,    // a model that overflowed, a runtime that failed
    usage = 2,    // a flag, a name or a setting that does not fit
    data = 3,     // an image that cannot be decoded
    bundle = 4,   // an artifact that does not verify
    missing = 5,  // a runtime or a format that is not there
};

class Error : public std::runtime_error {
  public:
    // `code` is stable: programs may branch on it. what() is the sentence, in UTF-8.
    Error(Kind kind, std::string code, const std::string& message)
        : std::runtime_error(message), kind_(kind), code_(std::move(code)) {}

    Kind kind() const noexcept { return kind_; }
    const std::string& code() const noexcept { return code_; }
    int exit_code() const noexcept { return static_cast<int>(kind_); }

  private:
    Kind kind_;
    std::string code_;
};

}  // namespace ghostclas
