// A library that is loaded while the program runs: dlopen on POSIX, LoadLibrary on Windows.
#pragma once

#include <string>
#include <string_view>

namespace ghostclas {

class Library {
  public:
    Library() = default;
    ~Library() = default;  // never unloaded: runtimes have threads of their own
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

    // Loads the library of this path or name. Returns false and sets `problem` if the system refuses.
    bool open(const std::string& path, std::string& problem);

    // The address of a function; null if there is none of that name.
    template <typename Function>
    Function symbol(const char* name) const {
        return reinterpret_cast<Function>(find(name));
    }

  private:
    void* find(const char* name) const;
    void* handle_ = nullptr;
};

// "libonnxruntime" becomes the names that a library has on this system, most exact first; a `*` stands for a version.
std::string library_pattern(std::string_view stem);

}  // namespace ghostclas
