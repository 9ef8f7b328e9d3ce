// Linux, macOS and other POSIX systems.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

#include "files.hpp"
#include "library.hpp"

namespace ghostclas {
namespace {

struct Free {
    void operator()(char* text) const { std::free(text); }
};
using Allocated = std::unique_ptr<char, Free>;

std::string reason_of(int error) { return std::generic_category().message(error); }

constexpr const char* embedded_nul = "embedded null byte";

bool has_nul(const std::string& path) { return path.find('\0') != std::string::npos; }

// A path as the system takes it, which would cut one at a NUL. Throws FileProblem.
const char* system_path(const std::string& path) {
    if (has_nul(path)) throw FileProblem(embedded_nul);
    return path.c_str();
}

[[noreturn]] void fail(int error) { throw FileProblem(reason_of(error), error == EPIPE); }

bool look(const std::string& path, bool follow, struct stat& status) {
    if (has_nul(path)) {
        errno = EINVAL;
        return false;
    }
    return (follow ? stat(path.c_str(), &status) : lstat(path.c_str(), &status)) == 0;
}

void write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(descriptor, text.data(), text.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            // A program may be started without it.
            if (errno == EBADF) return;
            fail(errno);
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

}  // namespace

FileStatus status_of(const std::string& path, bool follow) {
    FileStatus result;
    struct stat status {};
    if (!look(path, follow, status)) {
        result.kind = errno == ENOENT ? FileKind::missing : FileKind::unreadable;
        result.problem = has_nul(path) ? embedded_nul : reason_of(errno);
        return result;
    }
    result.kind = S_ISREG(status.st_mode)   ? FileKind::regular
                  : S_ISDIR(status.st_mode) ? FileKind::folder
                  : S_ISLNK(status.st_mode) ? FileKind::link
                                            : FileKind::other;
    result.size = static_cast<std::uint64_t>(status.st_size);
    result.device = static_cast<std::uint64_t>(status.st_dev);
    result.number = static_cast<std::uint64_t>(status.st_ino);
    return result;
}

bool is_there(const std::string& path, bool follow) {
    struct stat status {};
    return look(path, follow, status);
}

bool is_separator(char c) { return c == '/'; }

std::string plain_path(std::string_view path) {
    const std::size_t slashes = std::min(path.find_first_not_of('/'), path.size());
    // Two slashes, and only two, may mean something else than one.
    std::string result(slashes == 2 ? 2U : slashes == 0 ? 0U : 1U, '/');
    const std::size_t root = result.size();
    for (std::size_t at = slashes; at < path.size();) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        const std::string_view part = path.substr(at, end - at);
        if (!part.empty() && part != ".") {
            if (result.size() > root) result += '/';
            result += part;
        }
        at = end + 1;
    }
    return result.empty() ? "." : result;
}

std::string joined(const std::string& folder, std::string_view name) {
    if (folder == ".") return std::string(name);
    if (folder.empty() || folder.back() == '/') return folder + std::string(name);
    return folder + "/" + std::string(name);
}

std::string absolute_path(const std::string& path) {
    if (!path.empty() && path[0] == '/') return path;
    const Allocated here(getcwd(nullptr, 0));
    return here == nullptr ? path : joined(here.get(), path);
}

std::string folder_of(const std::string& path) {
    const std::size_t at = path.rfind('/');
    if (at == std::string::npos) return "";
    return at == 0 ? "/" : path.substr(0, at);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// ------------------------------------------------------------------ files

struct File::Handle {
    int descriptor;
    ~Handle() { close(descriptor); }
};

File::File(const std::string& path) {
    // What was a file a moment ago may be a pipe now, and is not waited for.
    const int descriptor = open(system_path(path), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) fail(errno);
    handle_.reset(new Handle{descriptor});
}

File::~File() = default;
File::File(File&& other) noexcept = default;

std::uint64_t File::size() const {
    struct stat status {};
    if (fstat(handle_->descriptor, &status) != 0) fail(errno);
    return static_cast<std::uint64_t>(status.st_size);
}

std::size_t File::read_at(std::uint64_t position, void* to, std::size_t size) const {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t count = pread(handle_->descriptor, static_cast<char*>(to) + done, size - done,
                                    static_cast<off_t>(position + done));
        if (count < 0) {
            if (errno == EINTR) continue;
            fail(errno);
        }
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

std::vector<std::uint8_t> read_file(const std::string& path) {
    const File file(path);
    std::vector<std::uint8_t> content(static_cast<std::size_t>(file.size()));
    content.resize(file.read_at(0, content.data(), content.size()));
    return content;
}

// ------------------------------------------------------------------ folders

struct Listing::Handle {
    DIR* stream;
    std::string folder;
    ~Handle() { closedir(stream); }
};

Listing::Listing(const std::string& folder) {
    DIR* stream = opendir(folder.empty() ? "." : system_path(folder));
    if (stream == nullptr) fail(errno);
    handle_.reset(new Handle{stream, folder});
}

Listing::~Listing() = default;
Listing::Listing(Listing&& other) noexcept = default;

std::optional<FolderEntry> Listing::next() {
    while (true) {
        errno = 0;
        const dirent* entry = readdir(handle_->stream);
        if (entry == nullptr) {
            if (errno != 0) fail(errno);
            return std::nullopt;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        FolderEntry found{std::string(name), entry->d_type == DT_DIR, {}};
        if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) {
            const FileStatus status = status_of(joined(handle_->folder, name));
            found.is_folder = status.kind == FileKind::folder;
            if (status.kind == FileKind::unreadable) found.problem = status.problem;
        }
        return found;
    }
}

// ------------------------------------------------------------------ the process

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
}

int all_cores() { return static_cast<int>(std::max<long>(sysconf(_SC_NPROCESSORS_ONLN), 1)); }

int usable_cores() {
#if defined(__linux__)
    cpu_set_t cores;
    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(CPU_COUNT(&cores), 1);
#endif
    return all_cores();
}

std::string own_folder() {
    Dl_info info{};
    const int found = dladdr(reinterpret_cast<const void*>(&own_folder), &info);
    // Of a program that was found by PATH, the loader knows its bare name alone. The file of that name in the current
    // folder is another one, with other libraries beside it.
    const bool is_path = found != 0 && info.dli_fname != nullptr && std::strchr(info.dli_fname, '/') != nullptr;
    Allocated real(is_path ? realpath(info.dli_fname, nullptr) : nullptr);
#if defined(__linux__)
    if (real == nullptr) real.reset(realpath("/proc/self/exe", nullptr));
#endif
    return real == nullptr ? "" : folder_of(real.get());
}

void write_stdout(std::string_view text) { write_all(STDOUT_FILENO, text); }

void write_stderr(std::string_view text) { write_all(STDERR_FILENO, text); }

std::size_t read_stdin(char* to, std::size_t size) {
    while (true) {
        const ssize_t count = read(STDIN_FILENO, to, size);
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno == EBADF) return 0;
        if (errno != EINTR) fail(errno);
    }
}

std::vector<std::string> program_arguments(int count, char** arguments) {
    std::signal(SIGPIPE, SIG_IGN);
    return {arguments + std::min(count, 1), arguments + count};
}

// ------------------------------------------------------------------ libraries

bool Library::open(const std::string& path, std::string& problem) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return true;
    const char* why = dlerror();
    problem = why == nullptr ? "it cannot be loaded" : why;
    return false;
}

void* Library::find(const char* name) const { return dlsym(handle_, name); }

std::string library_pattern(std::string_view stem) {
#if defined(__APPLE__)
    return std::string(stem) + "*.dylib";
#else
    return std::string(stem) + ".so*";
#endif
}

}  // namespace ghostclas
