// What this library asks of the operating system: files, folders, cores, the environment.
// posix.cpp and windows.cpp implement it, and nothing else calls the system.
//
// Paths are bytes on POSIX and UTF-8 on Windows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ghostclas {

enum class FileKind { missing, unreadable, regular, folder, link, other };

struct FileStatus {
    FileKind kind = FileKind::missing;
    std::uint64_t size = 0;
    std::uint64_t device = 0;  // with `number`, what tells one file from another
    std::uint64_t number = 0;
    std::string problem;  // of what is missing or unreadable, in the system's words
};

// What is at `path`. A link is what it points to if `follow`, else FileKind::link.
FileStatus status_of(const std::string& path, bool follow = true);

inline bool is_file(const std::string& path) { return status_of(path).kind == FileKind::regular; }
inline bool is_folder(const std::string& path) { return status_of(path).kind == FileKind::folder; }
bool is_there(const std::string& path, bool follow = true);

// The path as Python's pathlib writes it: no "./", no doubled and no last separator.
std::string plain_path(std::string_view path);
std::string joined(const std::string& folder, std::string_view name);
std::string absolute_path(const std::string& path);
// The part of a path before its last name, without a separator at its end; "" where there is none.
std::string folder_of(const std::string& path);
std::string name_of(const std::string& path);
// Whether the character separates the names of a path.
bool is_separator(char c);

// The system refuses to read or write; what() is its reason, as Python's strerror.
class FileProblem : public std::runtime_error {
  public:
    explicit FileProblem(const std::string& reason, bool broken_pipe = false)
        : std::runtime_error(reason), broken_pipe_(broken_pipe) {}
    bool broken_pipe() const { return broken_pipe_; }

  private:
    bool broken_pipe_;
};

// A file open for reading. Functions throw FileProblem.
class File {
  public:
    explicit File(const std::string& path);
    ~File();
    File(File&& other) noexcept;
    File& operator=(File&&) = delete;

    std::uint64_t size() const;
    // Reads up to `size` bytes at `position`; fewer only at the end of the file.
    std::size_t read_at(std::uint64_t position, void* to, std::size_t size) const;

  private:
    struct Handle;
    std::unique_ptr<Handle> handle_;
};

// The whole of a regular file. Throws FileProblem.
std::vector<std::uint8_t> read_file(const std::string& path);

struct FolderEntry {
    std::string name;
    bool is_folder = false;  // links are followed
    std::string problem;     // why a link cannot be followed; one that leads nowhere is a file
};

// The entries of a folder, one by one, in the order of the file system. Functions throw FileProblem.
class Listing {
  public:
    explicit Listing(const std::string& folder);
    ~Listing();
    Listing(Listing&& other) noexcept;
    Listing& operator=(Listing&&) = delete;

    std::optional<FolderEntry> next();

  private:
    struct Handle;
    std::unique_ptr<Handle> handle_;
};

// Whether the locale's environment variable is set, and to what.
std::optional<std::string> environment(const char* name);

// The cores that this process may run on, and those of the machine.
int usable_cores();
int all_cores();

// The folder of the program or library that this code is in; "" where the system does not tell.
std::string own_folder();

// Writes all of it to standard output or error. Throws FileProblem.
void write_stdout(std::string_view text);
void write_stderr(std::string_view text);

// Reads standard input. Returns 0 at its end. Throws FileProblem.
std::size_t read_stdin(char* to, std::size_t size);

// The arguments of the program in UTF-8 (Windows) or as they are; a process that writes into a closed pipe gets an
// error and no signal from here on.
std::vector<std::string> program_arguments(int count, char** arguments);

}  // namespace ghostclas
