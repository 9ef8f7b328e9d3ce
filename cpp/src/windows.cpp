// Windows 10 and later; paths are UTF-8 here and UTF-16 at the system's door.
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
// After windows.h.
#include <shellapi.h>

#include <algorithm>
#include <cstdlib>

#include "files.hpp"
#include "library.hpp"
#include "strings.hpp"

namespace ghostclas {
namespace {

constexpr const char* embedded_nul = "stat: embedded null character in path";

// Names of files may hold halves of surrogate pairs, which the system's own conversion replaces.
std::wstring wide(std::string_view text) {
    std::wstring result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const char32_t c = next_code_point(text, at);
        if (c < 0x10000) {
            result += static_cast<wchar_t>(c);
        } else {
            result += static_cast<wchar_t>(0xD800 + ((c - 0x10000) >> 10));
            result += static_cast<wchar_t>(0xDC00 + ((c - 0x10000) & 0x3FF));
        }
    }
    return result;
}

std::string narrow(std::wstring_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        char32_t c = text[at];
        if (c >= 0xD800 && c < 0xDC00 && at + 1 < text.size() && text[at + 1] >= 0xDC00 && text[at + 1] < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (text[++at] - 0xDC00U);
        }
        append_utf8(result, c);
    }
    return result;
}

bool has_nul(std::string_view path) { return path.find('\0') != std::string_view::npos; }

// A path as the system takes it, which would cut one at a NUL. Throws FileProblem.
std::wstring system_path(std::string_view path) {
    if (has_nul(path)) throw FileProblem(embedded_nul);
    return wide(path);
}

// What Python says of it; the C library's words for the common ones.
std::string reason_of(DWORD error) {
    switch (error) {
        case ERROR_FILE_NOT_FOUND:
        case ERROR_PATH_NOT_FOUND:
            return "No such file or directory";
        case ERROR_ACCESS_DENIED:
        case ERROR_SHARING_VIOLATION:
            return "Permission denied";
        case ERROR_INVALID_NAME:
            return "Invalid argument";
        case ERROR_DISK_FULL:
        case ERROR_HANDLE_DISK_FULL:
            return "No space left on device";
        case ERROR_BROKEN_PIPE:
        case ERROR_NO_DATA:
            return "Broken pipe";
        default:
            return "error " + std::to_string(error) + " of Windows";
    }
}

[[noreturn]] void fail(DWORD error) {
    throw FileProblem(reason_of(error), error == ERROR_BROKEN_PIPE || error == ERROR_NO_DATA);
}

HANDLE open_to_look(const std::string& path, bool follow) {
    const DWORD flags = FILE_FLAG_BACKUP_SEMANTICS | (follow ? 0U : FILE_FLAG_OPEN_REPARSE_POINT);
    return CreateFileW(wide(path).c_str(), FILE_READ_ATTRIBUTES,
                       FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING, flags, nullptr);
}

void write_all(DWORD which, std::string_view text) {
    const HANDLE to = GetStdHandle(which);
    // A program may be started without it.
    if (to == nullptr || to == INVALID_HANDLE_VALUE) return;
    DWORD mode = 0;
    if (GetConsoleMode(to, &mode) != 0) {
        const std::wstring shown = wide(text);
        for (std::wstring_view left = shown; !left.empty();) {
            DWORD count = 0;
            // The console takes so much at once.
            const auto part = static_cast<DWORD>(std::min<std::size_t>(left.size(), 1U << 14));
            if (WriteConsoleW(to, left.data(), part, &count, nullptr) == 0) fail(GetLastError());
            left.remove_prefix(count);
        }
        return;
    }
    while (!text.empty()) {
        DWORD written = 0;
        const auto part = static_cast<DWORD>(std::min<std::size_t>(text.size(), 1U << 20));
        if (WriteFile(to, text.data(), part, &written, nullptr) == 0) fail(GetLastError());
        text.remove_prefix(written);
    }
}

}  // namespace

FileStatus status_of(const std::string& path, bool follow) {
    FileStatus result;
    if (has_nul(path)) {
        result.kind = FileKind::unreadable;
        result.problem = embedded_nul;
        return result;
    }
    const HANDLE handle = open_to_look(path, follow);
    if (handle == INVALID_HANDLE_VALUE) {
        const DWORD error = GetLastError();
        const bool missing = error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND;
        result.kind = missing ? FileKind::missing : FileKind::unreadable;
        result.problem = reason_of(error);
        return result;
    }
    BY_HANDLE_FILE_INFORMATION about{};
    const bool known = GetFileInformationByHandle(handle, &about) != 0;
    const bool on_disk = GetFileType(handle) == FILE_TYPE_DISK;
    FILE_ATTRIBUTE_TAG_INFO tagged{};
    const bool is_tagged = !follow && (about.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0 &&
                           GetFileInformationByHandleEx(handle, FileAttributeTagInfo, &tagged, sizeof tagged) != 0;
    CloseHandle(handle);
    // As Python: clouds and deduplication tag files, too, which are no links.
    if (is_tagged && !IsReparseTagNameSurrogate(tagged.ReparseTag)) return status_of(path, true);
    if (!known || !on_disk) {
        result.kind = FileKind::other;
    } else if (is_tagged && tagged.ReparseTag == IO_REPARSE_TAG_SYMLINK) {
        result.kind = FileKind::link;
    } else if ((about.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
        result.kind = FileKind::folder;
    } else {
        result.kind = FileKind::regular;
    }
    result.size = static_cast<std::uint64_t>(about.nFileSizeHigh) << 32 | about.nFileSizeLow;
    result.device = about.dwVolumeSerialNumber;
    result.number = static_cast<std::uint64_t>(about.nFileIndexHigh) << 32 | about.nFileIndexLow;
    return result;
}

bool is_there(const std::string& path, bool follow) {
    const FileKind kind = status_of(path, follow).kind;
    return kind != FileKind::missing && kind != FileKind::unreadable;
}

bool is_separator(char c) { return c == '/' || c == '\\'; }

std::string plain_path(std::string_view path) {
    std::string result;
    std::size_t at = 0;
    if (path.size() >= 2 && path[1] == ':') {
        result = path.substr(0, 2);
        at = 2;
    }
    const bool network = at == 0 && path.size() >= 2 && is_separator(path[0]) && is_separator(path[1]);
    if (at < path.size() && is_separator(path[at])) result += network ? "\\\\" : "\\";
    const std::size_t root = result.size();
    while (at < path.size()) {
        std::size_t end = at;
        while (end < path.size() && !is_separator(path[end])) ++end;
        const std::string_view part = path.substr(at, end - at);
        if (!part.empty() && part != ".") {
            if (result.size() > root) result += '\\';
            result += part;
        }
        at = end + 1;
    }
    return result.empty() ? "." : result;
}

std::string joined(const std::string& folder, std::string_view name) {
    if (folder == ".") return std::string(name);
    if (folder.empty() || is_separator(folder.back())) return folder + std::string(name);
    return folder + "\\" + std::string(name);
}

std::string absolute_path(const std::string& path) {
    const std::wstring from = wide(path);
    std::wstring result(GetFullPathNameW(from.c_str(), 0, nullptr, nullptr), L'\0');
    result.resize(GetFullPathNameW(from.c_str(), static_cast<DWORD>(result.size()), result.data(), nullptr));
    return narrow(result);
}

std::string folder_of(const std::string& path) {
    const std::size_t at = path.find_last_of("/\\");
    return at == std::string::npos ? "" : path.substr(0, std::max<std::size_t>(at, 1));
}

std::string name_of(const std::string& path) { return path.substr(path.find_last_of("/\\") + 1); }

// ------------------------------------------------------------------ files

struct File::Handle {
    HANDLE file;
    ~Handle() { CloseHandle(file); }
};

File::File(const std::string& path) {
    const HANDLE file = CreateFileW(system_path(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (file == INVALID_HANDLE_VALUE) fail(GetLastError());
    handle_.reset(new Handle{file});
}

File::~File() = default;
File::File(File&& other) noexcept = default;

std::uint64_t File::size() const {
    LARGE_INTEGER size{};
    if (GetFileSizeEx(handle_->file, &size) == 0) fail(GetLastError());
    return static_cast<std::uint64_t>(size.QuadPart);
}

std::size_t File::read_at(std::uint64_t position, void* to, std::size_t size) const {
    std::size_t done = 0;
    while (done < size) {
        OVERLAPPED where{};
        where.Offset = static_cast<DWORD>(position + done);
        where.OffsetHigh = static_cast<DWORD>((position + done) >> 32);
        DWORD count = 0;
        const auto part = static_cast<DWORD>(std::min<std::size_t>(size - done, 1U << 30));
        if (ReadFile(handle_->file, static_cast<char*>(to) + done, part, &count, &where) == 0) {
            if (GetLastError() == ERROR_HANDLE_EOF) break;
            fail(GetLastError());
        }
        if (count == 0) break;
        done += count;
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
    HANDLE search;
    WIN32_FIND_DATAW found;
    std::string folder;
    bool is_first;
    ~Handle() { FindClose(search); }
};

Listing::Listing(const std::string& folder) {
    WIN32_FIND_DATAW found{};
    const std::string all = joined(folder.empty() ? std::string(".\\") : folder, "*");
    const HANDLE search = FindFirstFileW(system_path(all).c_str(), &found);
    if (search == INVALID_HANDLE_VALUE) fail(GetLastError());
    handle_.reset(new Handle{search, found, folder, true});
}

Listing::~Listing() = default;
Listing::Listing(Listing&& other) noexcept = default;

std::optional<FolderEntry> Listing::next() {
    while (true) {
        if (!handle_->is_first && FindNextFileW(handle_->search, &handle_->found) == 0) {
            if (GetLastError() != ERROR_NO_MORE_FILES) fail(GetLastError());
            return std::nullopt;
        }
        handle_->is_first = false;
        const std::string name = narrow(handle_->found.cFileName);
        if (name == "." || name == "..") continue;
        const DWORD attributes = handle_->found.dwFileAttributes;
        if ((attributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0) {
            return FolderEntry{name, is_folder(joined(handle_->folder, name)), {}};
        }
        return FolderEntry{name, (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0, {}};
    }
}

// ------------------------------------------------------------------ the process

std::optional<std::string> environment(const char* name) {
    const std::wstring key = wide(name);
    const DWORD size = GetEnvironmentVariableW(key.c_str(), nullptr, 0);
    if (size <= 1) return std::nullopt;
    std::wstring value(size, L'\0');
    value.resize(GetEnvironmentVariableW(key.c_str(), value.data(), size));
    return narrow(value);
}

int all_cores() {
    SYSTEM_INFO info{};
    GetSystemInfo(&info);
    return std::max(static_cast<int>(info.dwNumberOfProcessors), 1);
}

// As Python's os.sched_getaffinity, which Windows does not have.
int usable_cores() { return all_cores(); }

std::string own_folder() {
    HMODULE module = nullptr;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       reinterpret_cast<LPCWSTR>(reinterpret_cast<const void*>(&own_folder)), &module);
    std::wstring path(32768, L'\0');
    path.resize(GetModuleFileNameW(module, path.data(), static_cast<DWORD>(path.size())));
    return folder_of(narrow(path));
}

void write_stdout(std::string_view text) { write_all(STD_OUTPUT_HANDLE, text); }

void write_stderr(std::string_view text) { write_all(STD_ERROR_HANDLE, text); }

std::size_t read_stdin(char* to, std::size_t size) {
    DWORD count = 0;
    if (ReadFile(GetStdHandle(STD_INPUT_HANDLE), to, static_cast<DWORD>(size), &count, nullptr) == 0) {
        if (GetLastError() == ERROR_BROKEN_PIPE || GetLastError() == ERROR_INVALID_HANDLE) return 0;
        fail(GetLastError());
    }
    return count;
}

std::vector<std::string> program_arguments(int, char**) {
    int count = 0;
    LPWSTR* words = CommandLineToArgvW(GetCommandLineW(), &count);
    std::vector<std::string> arguments;
    for (int i = 1; i < count; ++i) arguments.push_back(narrow(words[i]));
    LocalFree(words);
    return arguments;
}

// ------------------------------------------------------------------ libraries

bool Library::open(const std::string& path, std::string& problem) {
    if (has_nul(path)) {
        problem = embedded_nul;
        return false;
    }
    const bool has_folder = path.find_first_of("/\\") != std::string::npos;
    // Neither the current folder nor PATH is searched: others may write there. A library beside the one that is loaded
    // is found; Windows wants its whole path for that.
    const std::wstring name = wide(has_folder ? absolute_path(path) : path);
    const DWORD beside = has_folder ? LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR : 0U;
    handle_ = reinterpret_cast<void*>(
        LoadLibraryExW(name.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | beside));
    if (handle_ == nullptr) problem = reason_of(GetLastError());
    return handle_ != nullptr;
}

void* Library::find(const char* name) const {
    return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

std::string library_pattern(std::string_view stem) {
    const std::string name(stem);
    return (name.compare(0, 3, "lib") == 0 ? name.substr(3) : name) + "*.dll";
}

}  // namespace ghostclas
