#include "exif.hpp"

#include "tiff_layout.hpp"

namespace ghostclas {
namespace {

constexpr unsigned kOrientation = 0x0112;
constexpr std::uint16_t kBig = 43;

}  // namespace

unsigned tiff_value_bytes(unsigned kind) {
    constexpr unsigned kBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
    return kind < sizeof kBytes / sizeof kBytes[0] ? kBytes[kind] : 0;
}

TiffLayout tiff_layout(Bytes data) {
    TiffLayout layout;
    if (data.starts_with("MM")) {
        layout.little = false;
    } else if (!data.starts_with("II")) {
        throw Damaged("no byte order mark");
    }
    if (layout.read(data, 2, 2) == kBig) {
        layout.number = layout.length = 8;
        layout.directory = layout.read(data, 8, 8);
    } else {
        layout.directory = layout.read(data, 4, 4);
    }
    return layout;
}

int orientation(Bytes exif) {
    int found = 1;
    try {
        const TiffLayout layout = tiff_layout(exif);
        tiff_entries(exif, layout, [&](const TiffEntry& entry) {
            if (entry.tag != kOrientation) return true;
            found = static_cast<int>(layout.read(exif, entry.value_at, 2));
            return false;
        });
    } catch (const Damaged&) {
        return 1;
    }
    return found;
}

}  // namespace ghostclas
