// An archive that is read in place: its central directory, and members that are stored or deflated.
//
// It accepts and refuses what Python's zipfile does, in the same words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "files.hpp"

namespace ghostclas {

class ZipProblem : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct ZipMember {
    std::string name;  // up to its first NUL, in UTF-8
    std::uint16_t flags = 0;
    std::uint16_t method = 0;
    std::uint32_t crc = 0;
    std::uint32_t attributes = 0;  // the upper half is the mode of a Unix file
    std::uint64_t compressed = 0;
    std::uint64_t size = 0;
    std::uint64_t begin = 0;  // where its local header is; damage may put it anywhere

    bool is_folder() const { return !name.empty() && name.back() == '/'; }
    bool is_link() const { return (attributes >> 16 & 0170000U) == 0120000U; }
    bool is_encrypted() const { return (flags & 1U) != 0; }
    bool is_readable() const { return method == 0 || method == 8; }
};

// What of an archive is read: a file, or bytes in memory.
class ZipSource {
  public:
    virtual ~ZipSource() = default;
    virtual std::uint64_t size() const = 0;
    virtual std::size_t read_at(std::uint64_t position, void* to, std::size_t size) const = 0;
};

class ZipFileSource : public ZipSource {
  public:
    explicit ZipFileSource(const std::string& path) : file_(path) {}
    std::uint64_t size() const override { return file_.size(); }
    std::size_t read_at(std::uint64_t position, void* to, std::size_t count) const override {
        return file_.read_at(position, to, count);
    }

  private:
    File file_;
};

class ZipMemorySource : public ZipSource {
  public:
    ZipMemorySource(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
    std::uint64_t size() const override { return size_; }
    std::size_t read_at(std::uint64_t position, void* to, std::size_t count) const override;

  private:
    const std::uint8_t* data_;
    std::size_t size_;
};

// The members of an archive, in the order of its directory, which may have 2 MiB.
// Throws ZipProblem or FileProblem.
std::vector<ZipMember> list_zip(const ZipSource& source);

// The content of a member, at most `limit` bytes of it. Its checksum is checked where its end is read.
// Throws ZipProblem or FileProblem.
std::vector<std::uint8_t> read_zip_member(const ZipSource& source, const ZipMember& member, std::uint64_t limit);

}  // namespace ghostclas
