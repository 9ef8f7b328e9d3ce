"""The C++ pixels beside Python's: the same files in one process, in turn.

    python benchmarks/cpp_pixels.py PHOTOS          writes benchmarks/results/cpp_pixels.md

``PHOTOS`` is a folder of photos. Beside them are generated images of 1600 x 1200 pixels, one in each format.
A file is decoded, scaled and cut as the built-in model wants it, by one thread.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[1:1] = [str(ROOT)]

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from ghostclas.imaging import preprocess  # noqa: E402
from ghostclas.processor import this_processor  # noqa: E402
from ghostclas.spec import PreprocessSpec  # noqa: E402
from ghostclas.timing import interleave  # noqa: E402
from tests.cpp.pixels import open_pixels  # noqa: E402
from tests.images import encode, photo  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "cpp_pixels.md"
SPEC = PreprocessSpec()
ROUNDS = 7


def generated() -> dict[str, bytes]:
    """Return one file of each format, of smooth pixels with noise."""
    noise = np.random.default_rng(0).integers(-12, 13, (1200, 1600, 3))
    pixels = np.clip(photo(1600, 1200).astype(int) + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    few = image.quantize(256)
    return {
        "JPEG": encode(image, "JPEG", quality=85),
        "PNG": encode(image),
        "PNG, RGBA": encode(np.dstack([pixels, pixels[..., :1]])),
        "PNG, palette": encode(few),
        "WebP": encode(image, "WebP", lossless=False),
        "GIF": encode(few, "GIF"),
        "BMP": encode(image, "BMP"),
        "TIFF": encode(image, "TIFF"),
        "TIFF, LZW": encode(image, "TIFF", compression="tiff_lzw"),
        "PPM": encode(image, "PPM"),
        "AVIF": encode(image, "AVIF", speed=10),
    }


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    photos = [file.read_bytes() for file in sorted(Path(sys.argv[1]).rglob("*")) if file.is_file()]
    sets = {f"{len(photos)} photos": photos} | {name: [data] for name, data in generated().items()}
    cpp = open_pixels()
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for name, files in sets.items():
        equal = all(np.array_equal(preprocess(data, SPEC), cpp.preprocess(data, SPEC)) for data in files)
        if not equal:
            raise SystemExit(f"{name}: the pixels differ")
        calls[name, "Python"] = lambda files=files: [preprocess(data, SPEC) for data in files]  # type: ignore[misc]
        calls[name, "C++"] = lambda files=files: [cpp.preprocess(data, SPEC) for data in files]  # type: ignore[misc]
    taken = interleave(calls, rounds=ROUNDS)
    lines = [
        "# Decoding and resizing in C++ and in Python",
        "",
        f"`python benchmarks/cpp_pixels.py PHOTOS` on one thread of {this_processor().model}. Milliseconds a "
        f"file, medians of {ROUNDS} turns in one interleaved run. All pixels are equal.",
        "",
        "| files | Python | C++ | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, files in sets.items():
        python, native = (
            statistics.median(taken[name, side]) / len(files) * 1000 for side in ("Python", "C++")
        )
        lines.append(f"| {name} | {python:.2f} | {native:.2f} | {python / native:.2f} |")
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
