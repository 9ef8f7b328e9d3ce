#include "photos.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "files.hpp"
#include "ghostclas/error.hpp"
#include "strings.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

constexpr std::size_t max_depth = 100;
constexpr std::ptrdiff_t max_parts = 200;  // of a pattern
constexpr std::size_t sorted_together = 10000;
constexpr std::uint64_t max_bytes = std::uint64_t{1} << 31;
constexpr std::size_t head_bytes = 2048;
constexpr std::size_t named_kinds = 6;

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// ------------------------------------------------------------------ what the names and first bytes of files say

bool is_hidden(const std::string& name) {
    return starts_with(name, ".") ||
           is_one_of(folded(name), {"__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle",
                                    "#snapshot", "$recycle.bin", "recycler", "system volume information", "lost+found",
                                    "__pycache__"});
}

std::string extension_of(const std::string& name) {
    const std::size_t first = name.find_first_not_of('.');
    const std::size_t dot = name.rfind('.');
    if (first == std::string::npos || dot == std::string::npos || dot < first) return "";
    return folded(name.substr(dot));
}

bool is_image_extension(std::string_view extension) {
    return is_one_of(extension, {".apng", ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jpg_large", ".mpo",
                                 ".pbm", ".pfm", ".pgm", ".pjpeg", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"});
}

const char* unread_photo(std::string_view extension) {
    if (is_one_of(extension, {".heic", ".heif", ".hif"})) return "HEIC";
    if (is_one_of(extension, {".j2k", ".jp2", ".jpf", ".jpx"})) return "JPEG 2000";
    if (extension == ".jxl") return "JPEG XL";
    if (is_one_of(extension, {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})) return "camera raw";
    return nullptr;
}

bool is_unread_photo(std::string_view kind) {
    return is_one_of(kind, {"HEIC", "JPEG 2000", "JPEG XL", "camera raw"});
}

bool is_other_extension(std::string_view extension) {
    return is_one_of(extension, {".7z",   ".bin",  ".cls",    ".csv",     ".db",       ".doc",    ".docx",  ".gz",
                                 ".h5",   ".htm",  ".html",   ".ini",     ".ipynb",    ".js",     ".json",  ".jsonl",
                                 ".log",  ".mat",  ".md",     ".mp3",     ".mp4",      ".npy",    ".npz",   ".onnx",
                                 ".parquet", ".pdf", ".pdparams", ".pickle", ".pkl",   ".pt",     ".pth",   ".py",
                                 ".rar",  ".safetensors", ".sh", ".svg",  ".tar",      ".tgz",    ".toml",  ".tsv",
                                 ".txt",  ".url",  ".xls",    ".xlsx",    ".xml",      ".yaml",   ".yml",   ".zip"});
}

bool is_blank(char c) { return std::string_view(" \t\n\r\f\v").find(c) != std::string_view::npos; }

bool is_bmp(std::string_view head) {
    constexpr std::string_view sizes("\x0c\x28\x34\x38\x40\x6c\x7c");
    return head.size() >= 18 && sizes.find(head[14]) != std::string_view::npos && head.substr(15, 3) == std::string_view("\0\0\0", 3);
}

// P1 to P6 or Pf, comments, and a whole number.
bool is_ppm(std::string_view head) {
    std::size_t at = 2;
    const auto skip_blanks = [&] {
        while (at < head.size() && is_blank(head[at])) ++at;
    };
    skip_blanks();
    if (at == 2) return false;
    while (at < head.size() && head[at] == '#') {
        at = head.find('\n', at);
        if (at == std::string_view::npos) return false;
        skip_blanks();
    }
    if (at < head.size() && head[at] == '-') ++at;
    const std::size_t digits = at;
    while (at < head.size() && head[at] >= '0' && head[at] <= '9') ++at;
    return at > digits && at < head.size() && is_blank(head[at]);
}

bool is_svg(std::string_view head) {
    std::size_t at = 0;
    while (at < head.size() && is_blank(head[at])) ++at;
    head.remove_prefix(at);
    if (starts_with(head, "<svg")) return true;
    return starts_with(head, "<?xml") && head.substr(5, 204).find("<svg") != std::string_view::npos;
}

// What the first bytes say: "image" for a format that is read, the name of another, or "".
std::string signature(std::string_view head) {
    const auto has = [head](std::string_view mark, std::size_t at = 0) {
        return head.size() >= at + mark.size() && head.substr(at, mark.size()) == mark;
    };
    using namespace std::string_view_literals;
    if (has("\xff\xd8\xff") || has("\x89PNG\r\n\x1a\n") || (has("RIFF") && has("WEBP", 8)) || has("GIF87a") || has("GIF89a") ||
        has("II*\0"sv) || has("II+\0"sv) || has("MM\0*"sv) || has("MM\0+"sv)) {
        return "image";
    }
    const std::string_view brand = head.substr(std::min<std::size_t>(8, head.size()), 4);
    const bool is_box = has("ftyp", 4);
    const bool is_heif = is_box && (brand == "mif1" || brand == "msf1");
    if (is_box) {
        const std::string_view others = head.substr(std::min<std::size_t>(12, head.size()), 44);
        const bool names_avif = others.find("avif") != std::string_view::npos || others.find("avis") != std::string_view::npos;
        if (brand == "avif" || brand == "avis" || (is_heif && names_avif)) return "image";
    }
    if (has("BM")) return is_bmp(head) ? "image" : "";
    if (head.size() > 2 && head[0] == 'P' && "123456f"sv.find(head[1]) != std::string_view::npos &&
        (is_blank(head[2]) || head[2] == '#')) {
        return is_ppm(head) ? "image" : "";
    }
    if (is_box && (is_heif || starts_with(brand, "hei") || starts_with(brand, "hev"))) return "HEIC";
    if (is_box || has("\x1a" "E\xdf\xa3") || (has("RIFF") && has("AVI ", 8))) return "video";
    if (has("\0\0\0\x0cjP  "sv) || has("\xff\x4f\xff\x51")) return "JPEG 2000";
    if (has("\xff\x0a") || has("\0\0\0\x0cJXL "sv)) return "JPEG XL";
    if (has("8BPS")) return "PSD";
    if (has("%!PS") || has("\xc5\xd0\xd3\xc6")) return "PostScript";
    if (has("%PDF")) return "PDF";
    if (is_svg(head)) return "SVG";
    if (has("\0\0\1\0"sv) || has("\0\0\2\0"sv)) return "icon";
    return "";
}

std::string read_head(const std::string& path) {
    if (status_of(path).kind != FileKind::regular) return "";
    try {
        std::string head(head_bytes, '\0');
        head.resize(File(path).read_at(0, head.data(), head.size()));
        return head;
    } catch (const FileProblem&) {
        return "";
    }
}

// What a file of a folder is that is no image read here; empty for an image.
std::string other_kind(const std::string& name, const std::string& path) {
    const std::string extension = extension_of(name);
    if (is_image_extension(extension)) return "";
    if (const char* kind = unread_photo(extension)) return kind;
    if (is_other_extension(extension)) return extension;
    const std::string found = signature(read_head(path));
    if (found == "image") return "";
    return !found.empty() ? found : !extension.empty() ? extension : "no extension";
}

// Whether this package wrote the folder: no photos are looked for in it.
bool is_own_output(const std::string& folder) {
    const auto has = [&folder](const char* name) { return is_there(joined(folder, name)); };
    return (has("config.yaml") && (has("log.jsonl") || has("checkpoints"))) ||
           (has("log.jsonl") && has("bundle/manifest.json")) ||
           (has("manifest.json") && (has("reference.safetensors") || has("weights.safetensors"))) ||
           has("predictions.partial.jsonl") || (has("predictions.csv") && has("predictions.jsonl")) ||
           (has("gallery.json") && has("thumbnails"));
}

// The cells of each line of CSV, as Python's csv.reader has them.
std::vector<std::vector<std::string>> csv_rows(const std::string& text) {
    std::vector<std::vector<std::string>> rows(1, {""});
    bool is_quoted = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        std::string& cell = rows.back().back();
        if (is_quoted && c == '"' && at + 1 < text.size() && text[at + 1] == '"') {
            cell += text[++at];
        } else if (c == '"' && (is_quoted || cell.empty())) {
            is_quoted = !is_quoted;
        } else if (!is_quoted && c == ',') {
            rows.back().emplace_back();
        } else if (!is_quoted && c == '\n') {
            rows.push_back({""});
        } else if (is_quoted || c != '\r') {
            cell += c;
        }
    }
    return rows;
}

// A folder, however it is called.
using Identity = std::pair<std::uint64_t, std::uint64_t>;

Identity identity_of(const FileStatus& status) { return {status.device, status.number}; }

bool is_below(std::string path, const Identity& root) {
    for (std::string folder = folder_of(path); !folder.empty() && folder != path; folder = folder_of(path)) {
        if (identity_of(status_of(folder)) == root) return true;
        path = std::move(folder);
    }
    return false;
}

// Whether `ghostclas predict --sort` put photos into the folder whose originals are still below `root`; the first
// rows of its list decide.
bool holds_doubles(const std::string& folder, const Identity& root) {
    const std::string list = joined(folder, "sorted.csv");
    if (!is_file(list)) return false;
    const std::vector<std::vector<std::string>> rows = csv_rows(read_head(list));
    if (rows[0] != std::vector<std::string>{"from", "to", "how"}) return false;
    return std::any_of(rows.begin() + 1, rows.end(), [&](const std::vector<std::string>& row) {
        return row.size() == 3 && (row[2] == "copy" || row[2] == "move" || row[2] == "link") && is_file(row[0]) &&
               is_below(row[0], root);
    });
}

// ------------------------------------------------------------------ patterns, as Python's glob

bool has_magic(std::string_view text) { return text.find_first_of("*?[") != std::string_view::npos; }

std::u32string code_points(std::string_view text) {
    std::u32string result;
    for (std::size_t at = 0; at < text.size();) result += next_code_point(text, at);
    return result;
}

// Where the set that begins behind `at` ends; the size of the pattern if it does not.
std::size_t end_of_set(const std::u32string& pattern, std::size_t at) {
    if (at < pattern.size() && pattern[at] == U'!') ++at;
    if (at < pattern.size() && pattern[at] == U']') ++at;
    return std::min(pattern.find(U']', at), pattern.size());
}

bool is_in_set(std::u32string_view set, char32_t c) {
    const bool is_negated = set[0] == U'!';
    if (is_negated) set.remove_prefix(1);
    bool found = false;
    for (std::size_t i = 0; i < set.size(); ++i) {
        if (i + 2 < set.size() && set[i + 1] == U'-') {
            found = found || (set[i] <= c && c <= set[i + 2]);
            i += 2;
        } else {
            found = found || set[i] == c;
        }
    }
    return found != is_negated;
}

bool matches(const std::u32string& pattern, const std::u32string& name) {
    std::size_t p = 0;
    std::size_t n = 0;
    std::size_t star = std::u32string::npos;  // where to go on if the rest does not match
    std::size_t retry = 0;
    while (n < name.size() || p < pattern.size()) {
        bool fits = false;
        if (p < pattern.size() && pattern[p] == U'*') {
            star = ++p;
            retry = n;
            continue;
        }
        if (p < pattern.size() && n < name.size()) {
            std::size_t next = p + 1;
            if (pattern[p] == U'[' && end_of_set(pattern, p + 1) < pattern.size()) {
                const std::size_t end = end_of_set(pattern, p + 1);
                fits = is_in_set(std::u32string_view(pattern).substr(p + 1, end - p - 1), name[n]);
                next = end + 1;
            } else {
                fits = pattern[p] == U'?' || pattern[p] == name[n];
            }
            if (fits) {
                p = next;
                ++n;
                continue;
            }
        }
        if (star == std::u32string::npos || retry >= name.size()) return false;
        n = ++retry;
        p = star;
    }
    return true;
}

std::string join_names(const std::string& folder, const std::string& name) {
    if (folder.empty()) return name;
    if (is_separator(folder.back())) return folder + name;
    return folder + "/" + name;
}

std::vector<std::string> names_in(const std::string& folder, bool folders_alone) {
    std::vector<std::string> names;
    try {
        Listing listing(folder);
        while (auto entry = listing.next()) {
            if (!folders_alone || entry->is_folder) names.push_back(std::move(entry->name));
        }
    } catch (const FileProblem&) {
        // What was read before counts.
    }
    return names;
}

void list_below(const std::string& folder, const std::string& prefix, bool folders_alone, std::vector<std::string>& found) {
    for (const std::string& name : names_in(folder, folders_alone)) {
        if (starts_with(name, ".")) continue;
        found.push_back(join_names(prefix, name));
        list_below(join_names(folder, name), join_names(prefix, name), folders_alone, found);
    }
}

std::vector<std::string> glob_in(const std::string& folder, const std::string& pattern, bool folders_alone) {
    std::vector<std::string> found;
    if (pattern == "**") {
        found.emplace_back();
        list_below(folder, "", folders_alone, found);
    } else if (has_magic(pattern)) {
        const std::u32string wanted = code_points(pattern);
        for (std::string& name : names_in(folder, folders_alone)) {
            if (starts_with(name, ".") && !starts_with(pattern, ".")) continue;
            if (matches(wanted, code_points(name))) found.push_back(std::move(name));
        }
    } else if (pattern.empty() ? is_folder(folder) : is_there(join_names(folder, pattern), false)) {
        found.push_back(pattern);
    }
    return found;
}

// Whether a path has more names than those of a pattern are looked for.
bool has_many_parts(const std::string& path) {
    const std::string plain = plain_path(path);
    const auto separators = std::count_if(plain.begin(), plain.end(), is_separator);
    return separators + 1 > max_parts;
}

std::vector<std::string> glob(const std::string& path, bool folders_alone = false) {
    std::size_t at = path.size();
    while (at > 0 && !is_separator(path[at - 1])) --at;
    const std::string base = path.substr(at);
    std::string folder = path.substr(0, at);
    const std::size_t last = folder.size() - static_cast<std::size_t>(std::find_if_not(folder.rbegin(), folder.rend(), is_separator) - folder.rbegin());
    if (last > 0) folder.resize(last);
    if (folder.empty()) return glob_in("", base, folders_alone);
    std::vector<std::string> found;
    for (const std::string& one : has_magic(folder) ? glob(folder, true) : std::vector<std::string>{folder}) {
        for (const std::string& name : glob_in(one, base, folders_alone)) found.push_back(join_names(one, name));
    }
    return found;
}

// Sorts the items of a list, `sorted_together` at a time.
template <typename Item, typename Name>
void sort_in_parts(std::vector<Item>& items, Name name) {
    for (std::size_t at = 0; at < items.size(); at += sorted_together) {
        const auto begin = items.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = items.begin() + static_cast<std::ptrdiff_t>(std::min(at + sorted_together, items.size()));
        std::sort(begin, end, [&name](const Item& a, const Item& b) { return comes_before(name(a), name(b)); });
    }
}

// ------------------------------------------------------------------ folders

// A folder whose images are given one by one.
class Walk {
  public:
    Walk(std::string folder, LeftOut& left_out) : left_out_(left_out) { enter(std::move(folder)); }

    std::optional<std::string> next() {
        while (true) {
            if (failed_) return std::exchange(failed_, std::nullopt);
            if (levels_.empty()) return std::nullopt;
            Level& level = levels_.back();
            if (level.at == level.entries.size() && !refill(level)) {
                levels_.pop_back();
                continue;
            }
            const FolderEntry entry = std::move(level.entries[level.at++]);
            std::string path = joined(level.folder, entry.name);
            if (!entry.is_folder) return path;
            enter(std::move(path));
        }
    }

  private:
    struct Level {
        std::string folder;
        Identity identity;
        Listing listing;
        std::vector<FolderEntry> entries;
        std::size_t at = 0;
        bool has_ended = false;
    };

    void enter(std::string folder) {
        const FileStatus status = status_of(folder);
        const Identity identity = identity_of(status);
        if (status.kind == FileKind::folder) {
            // Links to folders are followed, but not into a folder that holds the link.
            for (const Level& level : levels_) {
                if (level.identity == identity) return;
            }
            if (levels_.size() < max_depth) {
                try {
                    Listing listing(folder);
                    levels_.push_back({std::move(folder), identity, std::move(listing), {}, 0, false});
                    return;
                } catch (const FileProblem&) {
                    // It becomes a result with an error.
                }
            }
        }
        failed_ = std::move(folder);
    }

    bool refill(Level& level) {
        level.entries.clear();
        level.at = 0;
        try {
            while (!level.has_ended && level.entries.size() < sorted_together) {
                std::optional<FolderEntry> entry = level.listing.next();
                if (!entry) {
                    level.has_ended = true;
                    break;
                }
                if (is_hidden(entry->name)) continue;
                if (!entry->problem.empty()) throw FileProblem(entry->problem);
                const std::string path = joined(level.folder, entry->name);
                if (entry->is_folder) {
                    const bool is_ours = is_own_output(path) || holds_doubles(path, levels_.front().identity);
                    if (!is_ours) level.entries.push_back(std::move(*entry));
                    continue;
                }
                const std::string kind = other_kind(entry->name, path);
                if (kind.empty() || is_unread_photo(kind)) {
                    level.entries.push_back(std::move(*entry));
                } else {
                    ++left_out_[kind];
                }
            }
        } catch (const FileProblem&) {
            level.has_ended = true;
            level.entries.clear();
            failed_ = level.folder;
        }
        sort_in_parts(level.entries, [](const FolderEntry& entry) -> const std::string& { return entry.name; });
        return !level.entries.empty();
    }

    LeftOut& left_out_;
    std::vector<Level> levels_;
    std::optional<std::string> failed_;
};

// Python's errors.is_url and as_url: pathlib makes http:/a of http://a.
bool is_url(std::string_view path) {
    const std::size_t mark = path.find(":/");
    if (mark == std::string_view::npos || mark < 2 || mark + 2 >= path.size()) return false;
    return std::all_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(mark), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+';
    });
}

std::string as_url(std::string path) {
    if (path.find("://") == std::string::npos) path.insert(path.find(":/") + 1, "/");
    return path;
}

}  // namespace

std::vector<std::uint8_t> read_photo(const std::string& path) {
    const auto refuse = [](const char* code, const std::string& why) -> Error { return Error(Kind::data, code, why); };
    // Opening a pipe or a device can block or never end.
    const FileStatus status = status_of(path);
    switch (status.kind) {
        case FileKind::missing:
            if (is_url(path)) throw refuse("not_found", as_url(path) + " is a URL: download it first, then give the file");
            throw refuse("not_found", path + " does not exist");
        case FileKind::unreadable:
            throw refuse("unreadable", path + " cannot be read: " + status.problem);
        case FileKind::folder:
            throw refuse("unreadable", path + " is a folder; give the path of an image file");
        case FileKind::regular:
            break;
        default:
            throw refuse("unreadable", path + " is not a regular file; give the path of an image file");
    }
    if (status.size > max_bytes) {
        throw refuse("too_large", path + " has " + thousands(status.size) + " bytes, the limit is " +
                                      thousands(max_bytes));
    }
    try {
        return read_file(path);
    } catch (const FileProblem& problem) {
        throw refuse("unreadable", path + " cannot be read: " + problem.what());
    }
}

std::string describe_left_out(const LeftOut& kinds) {
    std::vector<std::pair<std::string, std::uint64_t>> most(kinds.begin(), kinds.end());
    std::stable_sort(most.begin(), most.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    std::uint64_t count = 0;
    std::uint64_t others = 0;
    std::string listed;
    bool has_photos = false;
    for (std::size_t i = 0; i < most.size(); ++i) {
        count += most[i].second;
        has_photos = has_photos || is_unread_photo(most[i].first);
        if (i < named_kinds) {
            listed += (i == 0 ? "" : ", ") + thousands(most[i].second) + " " + most[i].first;
        } else {
            others += most[i].second;
        }
    }
    if (others > 0) listed += ", " + thousands(others) + " of other kinds";
    const std::string files = count == 1 ? "1 file that is no image" : thousands(count) + " files that are no images";
    return "left out " + files + ": " + listed + (has_photos ? "; save photos of these kinds as JPEG or PNG" : "");
}

struct PhotoSearch::State {
    LeftOut& left_out;
    std::vector<std::string> paths;
    std::size_t at = 0;
    std::optional<Walk> walk;
};

PhotoSearch::PhotoSearch(const std::string& path, bool literal, LeftOut& left_out)
    : state_(new State{left_out, {}, 0, std::nullopt}) {
    if (literal || !has_magic(path) || is_there(path) || has_many_parts(path)) {
        state_->paths.push_back(plain_path(path));
        return;
    }
    std::vector<std::string> found = glob(path);
    if (starts_with(path, "**") && !found.empty() && found.front().empty()) found.erase(found.begin());
    sort_in_parts(found, [](const std::string& name) -> const std::string& { return name; });
    if (found.empty()) found.push_back(path);
    for (const std::string& one : found) state_->paths.push_back(plain_path(one));
}

PhotoSearch::~PhotoSearch() = default;

std::optional<std::string> PhotoSearch::next() {
    while (true) {
        if (state_->walk) {
            if (auto found = state_->walk->next()) return found;
            state_->walk.reset();
        }
        if (state_->at == state_->paths.size()) return std::nullopt;
        const std::string& path = state_->paths[state_->at++];
        if (!is_folder(path)) return path;
        state_->walk.emplace(path, state_->left_out);
    }
}

}  // namespace ghostclas
