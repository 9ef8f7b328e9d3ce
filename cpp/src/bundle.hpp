// The artifact on disk: a folder, or the same files in one .zip that is read in place.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "manifest.hpp"

namespace ghostclas {

// Where the files of a bundle are. Functions throw Error of Kind::bundle.
class Store {
  public:
    virtual ~Store() = default;
    // The size in bytes of a file that is really there.
    virtual std::uint64_t size(const std::string& name) const = 0;
    // At most `limit` bytes of a file.
    virtual std::vector<std::uint8_t> read(const std::string& name, std::uint64_t limit) const = 0;
};

// What holds the bundle at `path`, which messages name.
std::unique_ptr<Store> open_store(const std::string& path);

// The same for an archive in memory, which `named` names.
std::unique_ptr<Store> open_archive(const std::string& named, const std::uint8_t* data, std::size_t size);

// An open bundle. Opening checks the manifest and the size of every file; content is checked when it is read.
class Bundle {
  public:
    // Opens the folder or .zip at `path`. Throws Error of Kind::bundle.
    explicit Bundle(const std::string& path);
    // Opens what a store holds.
    Bundle(std::string path, std::unique_ptr<Store> store);

    const std::string& path() const { return path_; }
    const Manifest& manifest() const { return manifest_; }

    // The first file that an engine can open, of this format and precision where they are not empty.
    const FileEntry& file(const std::string& format, const std::string& precision) const;

    // The verified content of a listed file.
    std::vector<std::uint8_t> read(const FileEntry& entry) const;

    // Verifies the content of every file.
    void check() const;

  private:
    void open(std::unique_ptr<Store> store);
    bool was_replaced() const;

    std::string path_;
    std::unique_ptr<Store> store_;
    Manifest manifest_;
    std::string digest_;
};

}  // namespace ghostclas
