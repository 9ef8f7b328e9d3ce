#include "zip.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>

#include "strings.hpp"
#include "text.hpp"

namespace ghostclas {
namespace {

constexpr std::size_t end_size = 22;
constexpr std::size_t locator_size = 20;
constexpr std::size_t end64_size = 56;
constexpr std::size_t entry_size = 46;
constexpr std::size_t local_size = 30;
constexpr std::uint64_t max_directory = 2U << 20;
constexpr unsigned max_version = 63;
constexpr std::uint32_t in_extra = 0xFFFFFFFF;
constexpr std::uint64_t nowhere = std::numeric_limits<std::uint64_t>::max();

using Bytes = std::vector<std::uint8_t>;

std::uint64_t little(const std::uint8_t* from, int bytes) {
    std::uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) value = value << 8 | from[i];
    return value;
}
std::uint16_t little16(const std::uint8_t* from) { return static_cast<std::uint16_t>(little(from, 2)); }
std::uint32_t little32(const std::uint8_t* from) { return static_cast<std::uint32_t>(little(from, 4)); }

bool begins(const std::uint8_t* from, const char* mark) { return std::memcmp(from, mark, 4) == 0; }

Bytes read_part(const ZipSource& source, std::uint64_t position, std::size_t size) {
    Bytes part(size);
    part.resize(source.read_at(position, part.data(), size));
    return part;
}

// The upper half of code page 437, which names have unless they say that they are UTF-8.
constexpr std::array<char16_t, 128> code_page = {
    0xc7,   0xfc,   0xe9,   0xe2,   0xe4,   0xe0,   0xe5,   0xe7,   0xea,   0xeb,   0xe8,   0xef,   0xee,
    0xec,   0xc4,   0xc5,   0xc9,   0xe6,   0xc6,   0xf4,   0xf6,   0xf2,   0xfb,   0xf9,   0xff,   0xd6,
    0xdc,   0xa2,   0xa3,   0xa5,   0x20a7, 0x192,  0xe1,   0xed,   0xf3,   0xfa,   0xf1,   0xd1,   0xaa,
    0xba,   0xbf,   0x2310, 0xac,   0xbd,   0xbc,   0xa1,   0xab,   0xbb,   0x2591, 0x2592, 0x2593, 0x2502,
    0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510, 0x2514,
    0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550,
    0x256c, 0x2567, 0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c,
    0x2588, 0x2584, 0x258c, 0x2590, 0x2580, 0x3b1,  0xdf,   0x393,  0x3c0,  0x3a3,  0x3c3,  0xb5,   0x3c4,
    0x3a6,  0x398,  0x3a9,  0x3b4,  0x221e, 0x3c6,  0x3b5,  0x2229, 0x2261, 0xb1,   0x2265, 0x2264, 0x2320,
    0x2321, 0xf7,   0x2248, 0xb0,   0x2219, 0xb7,   0x221a, 0x207f, 0xb2,   0x25a0, 0xa0};

std::string name_from(const std::uint8_t* from, std::size_t size, bool is_utf8) {
    const std::string_view raw(reinterpret_cast<const char*>(from), size);
    std::string name;
    if (is_utf8) {
        const std::string problem = utf8_problem(raw);
        if (!problem.empty()) throw ZipProblem(problem);
        name = raw;
    } else {
        for (const char c : raw) {
            const auto byte = static_cast<unsigned char>(c);
            append_utf8(name, byte < 128 ? byte : code_page[byte - 128U]);
        }
    }
    return name.substr(0, name.find('\0'));
}

// Where the list of members is, by the record at the end of an archive.
struct Directory {
    std::uint64_t size = 0;
    std::uint64_t offset = 0;
    std::int64_t location = 0;  // of the record
    bool is_64 = false;
};

void read_end64(const ZipSource& source, Directory& directory) {
    const std::int64_t at = directory.location - static_cast<std::int64_t>(locator_size);
    if (at < 0) return;
    const Bytes locator = read_part(source, static_cast<std::uint64_t>(at), locator_size);
    if (locator.size() != locator_size || !begins(locator.data(), "PK\x06\x07")) return;
    if (little32(&locator[4]) != 0 || little32(&locator[16]) > 1) {
        throw ZipProblem("zipfiles that span multiple disks are not supported");
    }
    const std::int64_t before = at - static_cast<std::int64_t>(end64_size);
    if (before < 0) throw ZipProblem("File is not a zip file");
    const Bytes record = read_part(source, static_cast<std::uint64_t>(before), end64_size);
    if (record.size() != end64_size || !begins(record.data(), "PK\x06\x06")) return;
    directory.size = little(&record[40], 8);
    directory.offset = little(&record[48], 8);
    directory.is_64 = true;
}

Directory find_directory(const ZipSource& source) {
    const std::uint64_t size = source.size();
    if (size < end_size) throw ZipProblem("File is not a zip file");
    // The record is the last thing in the archive, but for a comment of up to 64 KiB.
    Bytes end = read_part(source, size - end_size, end_size);
    std::uint64_t location = size - end_size;
    if (end.size() != end_size || !begins(end.data(), "PK\x05\x06") || end[20] != 0 || end[21] != 0) {
        const std::uint64_t first = size > (1U << 16) + end_size ? size - (1U << 16) - end_size : 0;
        const Bytes tail = read_part(source, first, static_cast<std::size_t>(size - first));
        const std::array<std::uint8_t, 4> mark = {'P', 'K', 5, 6};
        const auto found = std::find_end(tail.begin(), tail.end(), mark.begin(), mark.end());
        if (tail.end() - found < static_cast<std::ptrdiff_t>(end_size)) throw ZipProblem("File is not a zip file");
        location = first + static_cast<std::uint64_t>(found - tail.begin());
        end.assign(found, found + end_size);
    }
    Directory directory;
    directory.size = little32(&end[12]);
    directory.offset = little32(&end[16]);
    directory.location = static_cast<std::int64_t>(location);
    read_end64(source, directory);
    return directory;
}

// Sizes that do not fit into 32 bits are in the extra field.
void read_extra(ZipMember& member, std::uint64_t& begin, const std::uint8_t* extra, std::size_t size) {
    while (size >= 4) {
        const unsigned kind = little16(extra);
        const std::size_t length = little16(extra + 2);
        if (length + 4 > size) {
            std::array<char, 64> text{};
            std::snprintf(text.data(), text.size(), "Corrupt extra field %04x (size=%u)", kind,
                          static_cast<unsigned>(length));
            throw ZipProblem(text.data());
        }
        if (kind == 1) {
            const std::uint8_t* data = extra + 4;
            std::size_t left = length;
            const auto take = [&](std::uint64_t& field, const char* name) {
                if (left < 8) throw ZipProblem(std::string("Corrupt zip64 extra field. ") + name + " not found.");
                field = little(data, 8);
                data += 8;
                left -= 8;
            };
            if (member.size == in_extra || member.size == std::numeric_limits<std::uint64_t>::max()) {
                take(member.size, "File size");
            }
            if (member.compressed == in_extra) take(member.compressed, "Compress size");
            if (begin == in_extra) take(begin, "Header offset");
        }
        extra += length + 4;
        size -= length + 4;
    }
}

// Where a member is that the archive puts at `begin`, if its list is at `start` and the archive puts it at `offset`:
// an archive may be appended to another file.
std::uint64_t moved(std::uint64_t begin, std::uint64_t offset, std::uint64_t start) {
    if (begin >= offset) return begin - offset <= nowhere - start ? start + (begin - offset) : nowhere;
    return offset - begin <= start ? start - (offset - begin) : nowhere;
}

// Inflates without a header; the text of its errors is that of Python's zlib module.
class Inflater {
  public:
    Inflater() {
        if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw ZipProblem("MemoryError");
    }
    ~Inflater() { inflateEnd(&stream_); }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    // Returns how many bytes of `to` were filled; takes what it used from `data`.
    std::size_t inflate_into(const std::uint8_t*& data, std::size_t& size, std::uint8_t* to, std::size_t room) {
        stream_.next_in = const_cast<Bytef*>(data);
        stream_.avail_in = static_cast<uInt>(size);
        stream_.next_out = to;
        stream_.avail_out = static_cast<uInt>(room);
        const int result = inflate(&stream_, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
            throw ZipProblem("Error " + std::to_string(result) + " while decompressing data: " +
                             (stream_.msg != nullptr ? stream_.msg : "invalid input data"));
        }
        ended_ = result == Z_STREAM_END;
        data += size - stream_.avail_in;
        size = stream_.avail_in;
        return room - stream_.avail_out;
    }
    bool ended() const { return ended_; }

  private:
    z_stream stream_{};
    bool ended_ = false;
};

}  // namespace

std::size_t ZipMemorySource::read_at(std::uint64_t position, void* to, std::size_t count) const {
    if (position >= size_) return 0;
    const std::size_t part = std::min(count, size_ - static_cast<std::size_t>(position));
    if (part != 0) std::memcpy(to, data_ + position, part);
    return part;
}

std::vector<ZipMember> list_zip(const ZipSource& source) {
    const Directory directory = find_directory(source);
    const std::int64_t records = directory.is_64 ? static_cast<std::int64_t>(end64_size + locator_size) : 0;
    if (directory.size > max_directory &&
        directory.size > static_cast<std::uint64_t>(directory.location - records < 0 ? 0 : directory.location - records)) {
        throw ZipProblem("Bad offset for central directory");
    }
    const std::int64_t start = directory.location - records - static_cast<std::int64_t>(directory.size);
    if (start < 0) throw ZipProblem("Bad offset for central directory");
    if (directory.size > max_directory) {
        throw ZipProblem("the list of its members has " + thousands(directory.size) + " bytes");
    }
    const Bytes list = read_part(source, static_cast<std::uint64_t>(start), static_cast<std::size_t>(directory.size));
    std::vector<ZipMember> members;
    for (std::size_t at = 0; at < directory.size;) {
        if (at + entry_size > list.size()) throw ZipProblem("Truncated central directory");
        const std::uint8_t* entry = &list[at];
        if (!begins(entry, "PK\x01\x02")) throw ZipProblem("Bad magic number for central directory");
        const std::size_t name_size = little16(entry + 28);
        const std::size_t extra_size = little16(entry + 30);
        const std::size_t comment_size = little16(entry + 32);
        const std::size_t rest = list.size() - at - entry_size;
        const std::size_t name_there = std::min(name_size, rest);
        const std::size_t extra_there = std::min(extra_size, rest - name_there);
        ZipMember member;
        member.flags = little16(entry + 8);
        member.name = name_from(entry + entry_size, name_there, (member.flags & 0x800U) != 0);
        if (entry[6] > max_version) {
            std::array<char, 32> text{};
            std::snprintf(text.data(), text.size(), "zip file version %.1f", entry[6] / 10.0);
            throw ZipProblem(text.data());
        }
        member.method = little16(entry + 10);
        member.crc = little32(entry + 16);
        member.compressed = little32(entry + 20);
        member.size = little32(entry + 24);
        member.attributes = little32(entry + 38);
        std::uint64_t begin = little32(entry + 42);
        read_extra(member, begin, entry + entry_size + name_there, extra_there);
        member.begin = moved(begin, directory.offset, static_cast<std::uint64_t>(start));
        members.push_back(std::move(member));
        at += entry_size + name_size + extra_size + comment_size;
    }
    return members;
}

std::vector<std::uint8_t> read_zip_member(const ZipSource& source, const ZipMember& member, std::uint64_t limit) {
    const std::uint64_t end = source.size();
    const Bytes header = member.begin < end ? read_part(source, member.begin, local_size) : Bytes();
    if (header.size() != local_size || !begins(header.data(), "PK\x03\x04")) {
        throw ZipProblem("it does not begin where the archive says");
    }
    std::uint64_t position = member.begin + local_size + little16(&header[26]) + little16(&header[28]);

    const std::uint64_t wanted = std::min(limit, member.size);
    Bytes content(static_cast<std::size_t>(wanted));
    std::size_t filled = 0;
    std::uint64_t left = member.compressed;
    bool ended = false;
    // Reads up to `room` bytes of what is compressed.
    const auto read_compressed = [&](std::uint8_t* to, std::size_t room) {
        const std::size_t count = source.read_at(position, to, static_cast<std::size_t>(std::min<std::uint64_t>(room, left)));
        if (count == 0) throw ZipProblem("it ends too soon");
        position += count;
        left -= count;
        return count;
    };
    if (member.method == 0) {
        while (left > 0 && filled < content.size()) {
            filled += read_compressed(content.data() + filled, content.size() - filled);
        }
        ended = left == 0 || filled == member.size;
    } else {
        constexpr std::size_t step = 1U << 18;
        constexpr std::size_t most = 1U << 30;
        Inflater inflater;
        Bytes buffer(step);
        const std::uint8_t* data = buffer.data();
        std::size_t waiting = 0;
        while (!ended && filled < content.size()) {
            if (waiting == 0 && left > 0) {
                waiting = read_compressed(buffer.data(), buffer.size());
                data = buffer.data();
            }
            const std::size_t room = std::min(content.size() - filled, most);
            const std::size_t made = inflater.inflate_into(data, waiting, content.data() + filled, room);
            filled += made;
            ended = inflater.ended() || (left == 0 && waiting == 0 && made < room);
        }
        ended = ended || filled == member.size;
    }
    content.resize(filled);
    if (ended) {
        std::uint32_t crc = 0;
        for (std::size_t at = 0; at < filled;) {
            const std::size_t part = std::min<std::size_t>(filled - at, 1U << 30);
            crc = static_cast<std::uint32_t>(crc32(crc, content.data() + at, static_cast<uInt>(part)));
            at += part;
        }
        if (crc != member.crc) throw ZipProblem("Bad CRC-32 for file " + quoted(member.name));
    }
    return content;
}

}  // namespace ghostclas
