#include "bundle.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <unordered_map>
#include <utility>

#include "files.hpp"
#include "ghostclas/error.hpp"
#include "sha256.hpp"
#include "strings.hpp"
#include "text.hpp"
#include "zip.hpp"

namespace ghostclas {
namespace {

constexpr std::uint64_t large = 64U << 20;
constexpr std::uint64_t max_ratio = 50;
constexpr std::uint64_t max_read = std::uint64_t{1} << 31;

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
    throw Error(Kind::bundle, "bundle", path + ": " + what);
}

[[noreturn]] void unreadable(const std::string& path, const std::string& name, const std::string& why) {
    refuse(path, name + " cannot be read (" + on_one_line(why) + "); " + restore_hint);
}

[[noreturn]] void missing(const std::string& path, const std::string& name) {
    refuse(path, name + " is missing; " + restore_hint);
}


// A bundle in a folder. Symbolic links in it are refused.
class FolderStore : public Store {
  public:
    FolderStore(std::string named, std::string root) : named_(std::move(named)), root_(std::move(root)) {}

    std::uint64_t size(const std::string& name) const override {
        FileStatus status;
        std::string path = root_;
        for (std::size_t at = 0; at < name.size();) {
            const std::size_t end = std::min(name.find('/', at), name.size());
            path = joined(path, std::string_view(name).substr(at, end - at));
            status = status_of(path, false);
            if (status.kind == FileKind::missing) missing(named_, name);
            if (status.kind == FileKind::unreadable) unreadable(named_, name, status.problem);
            if (status.kind == FileKind::link) refuse(named_, name + " is a symbolic link; copy the file itself there");
            at = end + 1;
        }
        if (status.kind != FileKind::regular) refuse(named_, name + " is not a regular file; " + restore_hint);
        return status.size;
    }

    std::vector<std::uint8_t> read(const std::string& name, std::uint64_t limit) const override {
        const std::uint64_t there = size(name);
        try {
            const File file(joined(root_, name));
            std::vector<std::uint8_t> content(static_cast<std::size_t>(std::min(there, limit)));
            content.resize(file.read_at(0, content.data(), content.size()));
            return content;
        } catch (const FileProblem& problem) {
            unreadable(named_, name, problem.what());
        }
    }

  private:
    std::string named_;
    std::string root_;
};

// A bundle at the top of an archive, or in the one folder at its top, as file managers make them.
class ArchiveStore : public Store {
  public:
    ArchiveStore(std::string named, const std::function<std::unique_ptr<ZipSource>()>& open) : named_(std::move(named)) {
        std::vector<ZipMember> members;
        try {
            source_ = open();
            members = list_zip(*source_);
        } catch (const FileProblem& problem) {
            incomplete(problem.what());
        } catch (const ZipProblem& problem) {
            incomplete(problem.what());
        }
        check_sizes(members);
        for (ZipMember& member : members) {
            const std::string name = ends_with(member.name, "/") ? member.name.substr(0, member.name.size() - 1) : member.name;
            const std::string problem = name_problem(name);
            if (!problem.empty()) refused(problem);
            if (member.is_link()) refused(name + " is a symbolic link");
            if (member.is_folder()) continue;
            order_.push_back(name);
            if (!members_.emplace(name, std::move(member)).second) refused("it holds " + name + " twice");
        }
        if (members_.count(manifest_name) == 0) top_ = only_folder();
    }

    std::uint64_t size(const std::string& name) const override { return member(name).size; }

    std::vector<std::uint8_t> read(const std::string& name, std::uint64_t limit) const override {
        const ZipMember& found = member(name);
        try {
            return read_zip_member(*source_, found, limit);
        } catch (const FileProblem& problem) {
            unreadable(named_, name, problem.what());
        } catch (const ZipProblem& problem) {
            unreadable(named_, name, problem.what());
        }
    }

  private:
    [[noreturn]] void incomplete(const char* why) const {
        refuse(named_, std::string("not a complete .zip archive (") + on_one_line(why) + "); copy or download it again");
    }

    [[noreturn]] void refused(const std::string& why) const { refuse(named_, "refused, nothing was unpacked: " + why); }

    void check_sizes(const std::vector<ZipMember>& members) const {
        const std::uint64_t size = source_->size();
        constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
        std::uint64_t compressed = 0;
        std::uint64_t unpacked = 0;
        for (const ZipMember& one : members) {
            compressed = std::min(most, compressed + std::min(most, one.compressed));
            unpacked = std::min(most, unpacked + std::min(most, one.size));
        }
        if (compressed > size) refused("its members lie over each other");
        if (unpacked > std::max(large, max_ratio * size)) {
            refused("its " + thousands(size) + " bytes would become " + thousands(unpacked) +
                    "; unpack it yourself if you trust it, and give the folder");
        }
    }

    std::string only_folder() const {
        std::vector<std::string> found;
        for (const std::string& name : order_) {
            if (std::count(name.begin(), name.end(), '/') == 1 && ends_with(name, std::string("/") + manifest_name)) {
                found.push_back(name);
            }
        }
        if (found.size() > 1) {
            refuse(named_, "holds " + std::to_string(found.size()) + " bundles; unpack it and give one of them");
        }
        return found.empty() ? "" : found[0].substr(0, found[0].find('/') + 1);
    }

    const ZipMember& member(const std::string& name) const {
        const auto found = members_.find(top_ + name);
        if (found == members_.end()) missing(named_, name);
        if (found->second.is_encrypted()) refuse(named_, name + " is encrypted; unpack the archive first");
        if (!found->second.is_readable()) {
            refuse(named_, name + " is compressed in an unusual way; unpack it and give the folder");
        }
        return found->second;
    }

    std::string named_;
    std::unique_ptr<ZipSource> source_;
    std::unordered_map<std::string, ZipMember> members_;
    std::vector<std::string> order_;
    std::string top_;
};

std::vector<std::uint8_t> read_manifest_file(const std::string& path, const Store& store) {
    const std::uint64_t size = store.size(manifest_name);
    if (size > max_manifest) {
        refuse(path, std::string(manifest_name) + " has " + thousands(size) + " bytes; no manifest is that long");
    }
    return store.read(manifest_name, max_manifest + 1);
}

}  // namespace

std::unique_ptr<Store> open_store(const std::string& path) {
    const FileKind kind = status_of(path).kind;
    if (kind == FileKind::folder) return std::make_unique<FolderStore>(path, path);
    if (kind == FileKind::regular) {
        return std::make_unique<ArchiveStore>(path, [&path] { return std::make_unique<ZipFileSource>(path); });
    }
    // Where the previous folder is for the moment in which the next one takes its place.
    const std::string whole = absolute_path(path);
    const std::string aside = joined(folder_of(whole), "." + name_of(whole) + ".previous");
    if (is_folder(aside)) return std::make_unique<FolderStore>(path, aside);
    refuse(path, std::string("there is no bundle here; a bundle is a folder with ") + manifest_name + ", or its .zip");
}

std::unique_ptr<Store> open_archive(const std::string& named, const std::uint8_t* data, std::size_t size) {
    return std::make_unique<ArchiveStore>(named, [=] { return std::make_unique<ZipMemorySource>(data, size); });
}

Bundle::Bundle(const std::string& path) : path_(plain_path(path)) {
    try {
        open(open_store(path_));
    } catch (const Error&) {
        // A writer may have put another bundle there meanwhile: then the second look finds all of it.
        open(open_store(path_));
    }
}

Bundle::Bundle(std::string path, std::unique_ptr<Store> store) : path_(std::move(path)) { open(std::move(store)); }

void Bundle::open(std::unique_ptr<Store> store) {
    store_ = std::move(store);
    const std::vector<std::uint8_t> content = read_manifest_file(path_, *store_);
    manifest_ = parse_manifest({reinterpret_cast<const char*>(content.data()), content.size()}, path_);
    for (const FileEntry& entry : manifest_.files) {
        const std::uint64_t size = store_->size(entry.path);
        if (size != entry.bytes) {
            refuse(path_, entry.path + " has " + thousands(size) + " bytes, its manifest says " + thousands(entry.bytes) +
                              "; " + restore_hint);
        }
    }
    digest_ = sha256_of(content.data(), content.size());
}

const FileEntry& Bundle::file(const std::string& format, const std::string& precision) const {
    std::string present;
    for (const FileEntry& entry : manifest_.files) {
        if (!entry.input) continue;
        if ((format.empty() || entry.format == format) && (precision.empty() || entry.precision == precision)) return entry;
        present += (present.empty() ? "" : ", ") + entry.format + " " + entry.precision;
    }
    const std::string wanted = format + (format.empty() || precision.empty() ? "" : " ") + precision;
    refuse(path_, "there is no " + (wanted.empty() ? "model" : wanted) + " file in this bundle (there is: " +
                      (present.empty() ? "none" : present) + "); add it with: ghostclas export --model " + path_ +
                      " --format " + (format.empty() ? "onnx" : format) +
                      (precision.empty() ? "" : " --precision " + precision));
}

std::vector<std::uint8_t> Bundle::read(const FileEntry& entry) const {
    if (entry.bytes > max_read) {
        refuse(path_, entry.path + " has " + thousands(entry.bytes) + " bytes; at most " + thousands(max_read) +
                          " are read at once");
    }
    std::vector<std::uint8_t> content = store_->read(entry.path, entry.bytes + 1);
    const std::string digest = sha256_of(content.data(), content.size());
    if (content.size() != entry.bytes || digest != entry.sha256) {
        if (was_replaced()) {
            refuse(path_, "the bundle was replaced while " + entry.path + " was read; open it again");
        }
        refuse(path_, entry.path + " is not the file that was exported (its sha256 begins with " + digest.substr(0, 12) +
                          ", the manifest says " + entry.sha256.substr(0, 12) + "); " + restore_hint);
    }
    return content;
}

void Bundle::check() const {
    for (const FileEntry& entry : manifest_.files) read(entry);
}

bool Bundle::was_replaced() const {
    try {
        const std::vector<std::uint8_t> content = read_manifest_file(path_, *open_store(path_));
        return sha256_of(content.data(), content.size()) != digest_;
    } catch (const Error&) {
        return false;
    }
}

}  // namespace ghostclas
