// The first directory of a classic or a big TIFF, as image_files.py reads it for EXIF and for TIFF files.
#pragma once

#include <vector>

#include "bytes.hpp"

namespace ghostclas {

constexpr unsigned tiff_header = 8;  // bytes of a classic one

struct TiffLayout {
    bool little = true;
    unsigned number = 4;   // bytes of a count of values and of a pointer
    unsigned length = 2;   // bytes of the count of entries
    std::uint64_t directory = 0;

    std::uint64_t read(Bytes data, std::uint64_t at, unsigned count) const {
        return little ? data.little(at, count) : data.big(at, count);
    }
    unsigned entry() const { return 4 + 2 * number; }
    bool is_big() const { return number == 8; }
};

struct TiffEntry {
    unsigned tag = 0;
    unsigned kind = 0;
    std::uint64_t values = 0;
    std::uint64_t at = 0;        // of the entry
    std::uint64_t value_at = 0;  // of its first value
};

unsigned tiff_value_bytes(unsigned kind);  // 0 for a kind that does not exist

// Both throw Damaged.
TiffLayout tiff_layout(Bytes data);

// Calls `use` for each entry; it returns whether to go on.
template <typename Use>
void tiff_entries(Bytes data, const TiffLayout& layout, Use use) {
    std::uint64_t count = layout.read(data, layout.directory, layout.length);
    std::uint64_t at = layout.directory + layout.length;
    const unsigned width = layout.entry();
    for (; count > 0; --count, at += width) {
        TiffEntry entry;
        entry.at = at;
        entry.tag = static_cast<unsigned>(layout.read(data, at, 2));
        entry.kind = static_cast<unsigned>(layout.read(data, at + 2, 2));
        entry.values = layout.read(data, at + 4, layout.number);
        entry.value_at = at + width - layout.number;
        const unsigned bytes = tiff_value_bytes(entry.kind);
        if (bytes > 0 && entry.values > layout.number / bytes) {
            entry.value_at = layout.read(data, entry.value_at, layout.number);
        }
        if (!data.holds(at, width)) throw Damaged("its directory breaks off");
        if (!use(entry)) return;
    }
}

}  // namespace ghostclas
