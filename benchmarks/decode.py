"""The speed of JPEG decoders up to the network's input, and whether their pixels equal those of ``imaging``.

    pip install simplejpeg PyTurboJPEG     # the second needs libjpeg-turbo 3 in the system
    python benchmarks/decode.py PHOTOS

decodes evenly spaced JPEGs below PHOTOS, and some of them enlarged to 12 megapixels, with each installed
decoder, interleaved. Prints a table and writes it to benchmarks/results/decode.md. The figure is the lowest
processor time on one core over all rounds, which other work on the machine disturbs least. Each decoder
ends in the same resampling, so only decoding differs between the rows.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image, features

from ghostclas.imaging import DRAFT_MARGIN, decode, fit, preprocess
from ghostclas.spec import PreprocessSpec

SPEC = PreprocessSpec()
SHORT = SPEC.resize.short_side
KEPT = DRAFT_MARGIN * SHORT
LARGE = (4000, 3000)
RESULT = Path(__file__).parent / "results" / "decode.md"

Decoder = Callable[[bytes], Image.Image]


def ours(data: bytes) -> Image.Image:
    return decode(data, short_side=SHORT)


def pillow_full(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def decoders() -> dict[str, Decoder]:
    """Return the installed decoders by the name of their row."""
    found: dict[str, Decoder] = {
        "ghostclas.imaging (Pillow, DCT scaling)": ours,
        "Pillow, whole": pillow_full,
    }
    try:
        import simplejpeg
    except ImportError:
        pass
    else:

        def simple_scaled(data: bytes) -> Image.Image:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            # simplejpeg takes the smallest scale that keeps both sides; only the short one matters here.
            kept = KEPT if min(height, width) >= KEPT else 0
            return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", min_height=kept, min_width=kept))

        found["simplejpeg, DCT scaling"] = simple_scaled
        found["simplejpeg, whole"] = lambda data: Image.fromarray(simplejpeg.decode_jpeg(data, "RGB"))
    try:
        from turbojpeg import TJPF_RGB, TurboJPEG

        turbo = TurboJPEG()
    except (ImportError, OSError, RuntimeError):
        pass
    else:

        def turbo_scaled(data: bytes) -> Image.Image:
            width, height, *_ = turbo.decode_header(data)
            scale = next(s for s in (8, 4, 2, 1) if s == 1 or min(width, height) // KEPT >= s)
            pixels = turbo.decode(data, pixel_format=TJPF_RGB, scaling_factor=(1, scale))
            return Image.fromarray(pixels)

        found["PyTurboJPEG, DCT scaling"] = turbo_scaled
    try:
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)

        def torchvision_whole(data: bytes) -> Image.Image:
            encoded = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
            planes = decode_jpeg(encoded, mode=ImageReadMode.RGB)
            return Image.fromarray(planes.permute(1, 2, 0).contiguous().numpy())

        found["torchvision.io, whole"] = torchvision_whole
    return found


def prepared(decoder: Decoder, data: bytes) -> object:
    return fit(decoder(data), SPEC)


def milliseconds(work: Callable[[bytes], object], photos: Sequence[bytes]) -> float:
    began = time.process_time()
    for data in photos:
        work(data)
    return 1000 * (time.process_time() - began) / len(photos)


def stages(photos: Sequence[Path], rounds: int) -> dict[str, float]:
    """Return the milliseconds of each step of ``imaging.preprocess`` for one photo."""
    contents = [path.read_bytes() for path in photos]
    images = [decode(data, short_side=SHORT) for data in contents]
    fitted = [Image.fromarray(fit(image, SPEC)) for image in images]
    example = np.empty((SPEC.crop, SPEC.crop, 3), np.uint8)

    def into_the_batch() -> None:
        for image in fitted:
            example[...] = np.asarray(image)

    work: dict[str, Callable[[], object]] = {
        "reading the file": lambda: [path.read_bytes() for path in photos],
        "Pillow parsing the header": lambda: [Image.open(io.BytesIO(data)) for data in contents],
        "header and decoding": lambda: [decode(data, short_side=SHORT) for data in contents],
        "resampling": lambda: [fit(image, SPEC) for image in images],
        "copying into the batch": into_the_batch,
        "everything, `imaging.preprocess`": lambda: [preprocess(path, SPEC, out=example) for path in photos],
    }
    least = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            began = time.process_time()
            run()
            least[name] = min(least[name], 1000 * (time.process_time() - began) / len(photos))
    return least


def enlarged(data: bytes) -> bytes:
    buffer = io.BytesIO()
    ours(data).resize(LARGE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def versions() -> str:
    names = ["pillow", "simplejpeg", "PyTurboJPEG", "torchvision"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed")
    return f"{', '.join(found)}; Pillow's libjpeg-turbo is {features.version('libjpeg_turbo')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PHOTOS")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--large", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    paths = sorted(options.folder.rglob("*.jpg"))
    paths = paths[:: max(1, len(paths) // options.photos)][: options.photos]
    small = [path.read_bytes() for path in paths]
    large = [enlarged(data) for data in small[: options.large]]
    found = decoders()
    least = {name: [float("inf"), float("inf")] for name in found}
    for _ in range(options.rounds):
        for name, decoder in found.items():
            for column, photos in enumerate((small, large)):
                spent = milliseconds(partial(prepared, decoder), photos)
                least[name][column] = min(least[name][column], spent)
    lines = [
        "# JPEG decoders",
        "",
        "Made by `benchmarks/decode.py`. Processor time for one photo on one core, in milliseconds, with "
        f"resampling to {SPEC.crop} px: the least of {options.rounds} rounds. {versions()}.",
        "",
        f"| decoder | {len(small)} photos as they are | {len(large)} photos of 12 megapixels | same pixels |",
        "| --- | --- | --- | --- |",
    ]
    wanted = [fit(ours(data), SPEC) for data in (*small, *large)]
    for name, decoder in found.items():
        same = sum(
            np.array_equal(fit(decoder(data), SPEC), pixels)
            for data, pixels in zip((*small, *large), wanted, strict=True)
        )
        first, second = least[name]
        lines.append(f"| {name} | {first:.2f} | {second:.1f} | {same} of {len(wanted)} |")
    lines += ["", "| step, photos as they are | ms |", "| --- | --- |"]
    lines += [f"| {name} | {ms:.3f} |" for name, ms in stages(paths, options.rounds).items()]
    text = "\n".join(lines) + "\n"
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
