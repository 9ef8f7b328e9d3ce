// The search for photos and the reading of one, as Python's ghostclas.prediction.photos and imaging do it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ghostclas {

// The content of a photo's file. Throws Error of Kind::data with the code not_found, unreadable or too_large.
std::vector<std::uint8_t> read_photo(const std::string& path);

// The number of files that were left out of folders, by kind.
using LeftOut = std::map<std::string, std::uint64_t>;

// One line about them.
std::string describe_left_out(const LeftOut& kinds);

// The images that one word names, one by one: a file itself, a folder the images below it, a pattern its matches. A
// missing path is itself, so that it gets its error. Folders are read and sorted 10,000 entries at a time.
class PhotoSearch {
  public:
    // `literal`: the path is no pattern.
    PhotoSearch(const std::string& path, bool literal, LeftOut& left_out);
    ~PhotoSearch();

    std::optional<std::string> next();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace ghostclas
