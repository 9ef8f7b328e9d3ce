"""Makes the golden vectors in this folder: what every implementation of the preprocessing must reproduce.

    python -m tests.golden.make

``cases.json`` holds three lists. ``preprocess``: an encoded file in ``images/``, a PreprocessSpec, and the
file in ``expected/`` with the crop as binary PPM (uint8 RGB, ``crop x crop``), to be met within ``tolerance``
levels: 0 for lossless files, 2 for JPEG, whose decoders may differ by rounding. ``preprocess_whole``: the
same for specs whose ``resize`` names a library. ``scores``: logits, temperature, k, and the softmax (to be
met within 1e-6) and the top-k indices (exactly).

Run it again only when the promise itself changes, and say why in the commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostclas.imaging import preprocess, softmax, top_k
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.images import encode, exif, photo, stored

HERE = Path(__file__).parent


def spec(short_side: int, crop: int, interpolation: Any = "bilinear", **fields: Any) -> PreprocessSpec:
    antialias = fields.pop("antialias", True)
    resize = ResizeSpec(short_side=short_side, interpolation=interpolation, antialias=antialias)
    return PreprocessSpec(resize=resize, crop=crop, **fields)


def images() -> dict[str, bytes]:
    """Every encoded file by name."""
    pixels = photo(150, 110, seed=1)
    alpha = np.dstack([pixels, photo(150, 110, seed=2)[..., 0]])
    grey16 = photo(90, 70, seed=3)[..., 1].astype(np.uint16) * 250 + 17
    palette = Image.fromarray(photo(80, 60, seed=4)).quantize(32, dither=Image.Dither.NONE)
    return {
        "rgb.png": encode(pixels),
        "rgba.png": encode(alpha),
        "grey16.png": encode(grey16),
        "bits.png": encode(Image.fromarray(photo(61, 47, seed=5)).convert("1")),
        "palette_transparent.gif": encode(palette, "GIF", transparency=3),
        "lossless.webp": encode(photo(64, 99, seed=6), "WebP"),
        "rotated.png": encode(stored(photo(50, 70, seed=7), 6), exif=exif(6)),
        "exact_short_side.png": encode(photo(61, 40, seed=8)),
        "thin.png": encode(photo(1, 5000, seed=9)),
        "small.png": encode(photo(20, 13, seed=10)),
        "plain.jpg": encode(photo(160, 120, seed=11), "JPEG"),
        "rotated.jpg": encode(stored(photo(120, 160, seed=12), 8), "JPEG", exif=exif(8)),
        "scaled_by_the_decoder.jpg": encode(photo(1301, 901, seed=13), "JPEG", quality=60),
        "cmyk.jpg": encode(Image.fromarray(photo(90, 64, seed=14)).convert("CMYK"), "JPEG"),
        "progressive_grey.jpg": encode(photo(100, 100, seed=15)[..., 0], "JPEG", progressive=True),
    }


def cases() -> Iterator[tuple[str, PreprocessSpec]]:
    """Every (file, spec) that is frozen."""
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos"):
        yield "rgb.png", spec(72, 64, interpolation)
        yield "small.png", spec(40, 32, interpolation)
    for interpolation in ("bilinear", "bicubic"):
        yield "rgb.png", spec(72, 64, interpolation, antialias=False)
        yield "small.png", spec(40, 32, interpolation, antialias=False)
    yield "rgb.png", spec(32, 32)
    for name in (
        "rgba.png",
        "grey16.png",
        "bits.png",
        "palette_transparent.gif",
        "lossless.webp",
        "thin.png",
    ):
        yield name, spec(40, 32)
    yield "exact_short_side.png", spec(40, 32, "bicubic")
    yield "rotated.png", spec(40, 32)
    yield "rotated.png", spec(40, 32, exif=False)
    for name in ("plain.jpg", "rotated.jpg", "scaled_by_the_decoder.jpg", "cmyk.jpg", "progressive_grey.jpg"):
        yield name, spec(40, 32)
    yield "scaled_by_the_decoder.jpg", spec(224, 64)
    yield "scaled_by_the_decoder.jpg", spec(40, 32, antialias=False)


def whole_cases() -> Iterator[tuple[str, PreprocessSpec]]:
    """Every (file, spec) that is frozen and scaled to a whole size, as PaddleClas does."""
    for name in ("rgb.png", "small.png", "thin.png", "exact_short_side.png", "rotated.png"):
        yield name, whole("opencv", 40)
    yield "plain.jpg", whole("opencv", 60)
    yield "rgb.png", whole("opencv", 55)
    yield "rgb.png", whole("opencv", 32, size=(64, 32))
    yield "small.png", whole("pillow", 40)
    yield "rgb.png", whole("pillow", 32, size=(64, 32))


def whole(library: Any, short_side: int, *, size: tuple[int, int] | None = None) -> PreprocessSpec:
    antialias = library == "pillow"
    resize = ResizeSpec(short_side=short_side, antialias=antialias, library=library, size=size)
    return PreprocessSpec(resize=resize, crop=32)


def describe(wanted: PreprocessSpec) -> str:
    resize = wanted.resize
    words = [resize.interpolation, str(resize.short_side), str(wanted.crop)]
    words += [resize.library] if resize.library else ["plain"] * (not resize.antialias)
    words += [f"{resize.size[0]}x{resize.size[1]}"] if resize.size else []
    return "_".join(words + ["unturned"] * (not wanted.exif))


def scores() -> Iterator[dict[str, Any]]:
    for logits, temperature, k in (
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1.0, 5),
        ([0.0, 0.0, 0.0, 0.0], 1.0, 3),
        ([-1000.0, 1000.0, 999.0], 1.0, 3),
        ([2.5, -1.25, 2.5, 7.0, 2.5, -30.0, 0.125], 2.5, 10),
        ([3.0], 0.5, 5),
    ):
        probabilities = softmax([logits], temperature)
        yield {
            "logits": logits,
            "temperature": temperature,
            "k": k,
            "softmax": [float(f"{p:.9g}") for p in probabilities[0]],
            "top": top_k(probabilities, k)[0].tolist(),
        }


def main() -> None:
    encoded = images()
    for folder in ("images", "expected"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).iterdir():
            old.unlink()
    for name, data in encoded.items():
        (HERE / "images" / name).write_bytes(data)

    def rows(wanted_cases: Iterator[tuple[str, PreprocessSpec]]) -> Iterator[dict[str, Any]]:
        for name, wanted in wanted_cases:
            expected = f"{name.replace('.', '_')}.{describe(wanted)}.ppm"
            (HERE / "expected" / expected).write_bytes(encode(preprocess(encoded[name], wanted), "PPM"))
            tolerance = 2 if name.endswith(".jpg") else 0
            yield {"image": name, "expected": expected, "tolerance": tolerance, "spec": wanted.model_dump()}

    document = json.dumps(
        {
            "preprocess": [*rows(cases())],
            "preprocess_whole": [*rows(whole_cases())],
            "scores": [*scores()],
        },
        indent=1,
    )
    (HERE / "cases.json").write_text(document + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
