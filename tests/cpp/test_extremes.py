"""Numbers beyond every integer, and what lies within itself a thousand times: the same refusal, no crash."""

from __future__ import annotations

import os
import struct
import subprocess
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest

from ghostclas.bundle import Bundle, default_bundle_path
from ghostclas.cli import main
from ghostclas.errors import BundleError, ImageError
from ghostclas.imaging import preprocess
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.bundle.made import write
from tests.cpp.building import SOURCES, built
from tests.cpp.native import refusal, refusal_in_python, runtime_folder
from tests.cpp.pixels import open_pixels
from tests.image_formats.nested_avif import nested_avif

CORPORA = SOURCES / "fuzz" / "corpus"
SMALL = PreprocessSpec(resize=ResizeSpec(short_side=64), crop=64)
NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**60, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

Answer = str | bytes


def answer(read: Callable[[bytes, PreprocessSpec], np.ndarray], data: bytes) -> Answer:
    try:
        return read(data, SMALL).tobytes()
    except ImageError as error:
        return f"{error.code}: {error}"


def assert_same_answer(data: bytes, name: str) -> Answer:
    """Compare what Python and C++ make of an image: its pixels, or the refusal."""
    python, native = answer(preprocess, data), answer(open_pixels().preprocess, data)
    same = python == native
    assert same, (name, *(found if isinstance(found, str) else "pixels" for found in (python, native)))
    return python


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpeg", "png", "ppm", "tiff", "webp"])
def test_the_images_that_fuzzing_begins_with_get_the_same_answer(kind: str) -> None:
    files = sorted((CORPORA / kind).iterdir())
    assert files
    for file in files:
        assert_same_answer(file.read_bytes(), file.name)


# ------------------------------------------------------------------ numbers


def big_tiff(**changed: tuple[int, ...]) -> bytes:
    """Return a BigTIFF of 8 x 8 grey pixels in tiles, whose numbers all have 64 bits."""
    tags = {
        "width": (8,),
        "height": (8,),
        "tile_width": (8,),
        "tile_height": (8,),
        "offsets": (368, 368),
    } | changed
    content = bytes(range(64))
    entries = (
        *(
            (256, 16, tags["width"]),
            (257, 16, tags["height"]),
            (258, 3, (8,)),
            (259, 3, (1,)),
            (262, 3, (1,)),
        ),
        *((277, 3, (1,)), (322, 16, tags["tile_width"]), (323, 16, tags["tile_height"])),
        *((324, 16, tags["offsets"]), (325, 16, (64, 64))),
    )
    end = 16 + 8 + 20 * len(entries) + 8
    table, values = b"", b""
    for tag, kind, numbers in entries:
        code = {3: "H", 16: "Q"}[kind]
        packed = struct.pack(f"<{len(numbers)}{code}", *numbers)
        if len(packed) > 8:
            at, values = end + len(values), values + packed
            packed = struct.pack("<Q", at)
        table += struct.pack("<HHQ", tag, kind, len(numbers)) + packed.ljust(8, b"\0")
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", len(entries))
    whole = header + table + bytes(8) + values
    return whole.ljust(368, b"\0") + content


def test_the_numbers_of_a_tiff_may_be_of_any_size() -> None:
    assert isinstance(assert_same_answer(big_tiff(), "as it is"), bytes)
    for tag in ("tile_width", "tile_height", "width", "height"):
        for number in NUMBERS:
            assert_same_answer(big_tiff(**{tag: (number,)}), f"{tag} {number}")
    for number in NUMBERS:
        assert_same_answer(big_tiff(offsets=(number, 368)), f"offset {number}")
        assert_same_answer(big_tiff(offsets=(368, number), tile_width=(4,)), f"second offset {number}")
    rng = Random(0)
    for _ in range(100):
        sides = {tag: (rng.choice(NUMBERS),) for tag in ("tile_width", "tile_height")}
        places = tuple(rng.choice((368, 400, *NUMBERS)) for _ in range(rng.randrange(1, 5)))
        assert_same_answer(big_tiff(**sides, offsets=places), f"{sides} {places}")


def with_zip64(path: Path, *, offset: int | None = None, header: int | None = None) -> None:
    """Let an archive of one member say by 64 bits where its list, or its member, is."""
    content = path.read_bytes()
    end = content.rindex(b"PK\5\6")
    size, at = struct.unpack_from("<II", content, end + 12)
    entry = bytearray(content[at:end])
    if header is not None:
        name_size, extra_size = struct.unpack_from("<HH", entry, 28)
        assert extra_size == 0
        assert size == 46 + name_size
        struct.pack_into("<H", entry, 30, 12)
        struct.pack_into("<I", entry, 42, 2**32 - 1)
        entry += struct.pack("<HHQ", 1, 8, header)
    begin = at if offset is None else offset
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), begin)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + len(entry), 1)
    path.write_bytes(content[:at] + bytes(entry) + record + locator + content[end:])


@pytest.mark.parametrize("number", [0, 30, 2**31, 2**62, 2**63 - 1, 2**63, 2**63 + 7, 2**64 - 1])
@pytest.mark.parametrize("where", ["list", "member", "both"])
def test_an_archive_may_say_that_something_is_anywhere(number: int, where: str, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(bundle.path / "manifest.json", "manifest.json")
    with_zip64(
        path,
        offset=number if where != "member" else None,
        header=number if where != "list" else None,
    )
    assert refusal(path) == refusal_in_python(path)


def test_the_archives_that_fuzzing_begins_with_get_the_same_answer(tmp_path: Path) -> None:
    for file in sorted((CORPORA / "bundle").iterdir()):
        path = tmp_path / file.name
        path.write_bytes(file.read_bytes())
        assert refusal(path) == refusal_in_python(path)


# ------------------------------------------------------------------ depth


def on_a_small_stack(
    *arguments: str | os.PathLike[str], kib: int = 256
) -> subprocess.CompletedProcess[bytes]:
    """Run the program with a small stack: Windows gives 1 MiB, musl 128 KiB a thread."""
    program = built("ghostclas-infer") / "bin" / "ghostclas-infer"
    environment = {
        **os.environ,
        "GHOSTCLAS_ONNXRUNTIME": str(runtime_folder()),
        "GHOSTCLAS_DEFAULT_MODEL": str(default_bundle_path()),
    }
    command = ["sh", "-c", f'ulimit -s {kib}; "$@"', "sh", str(program), *arguments]
    return subprocess.run(command, capture_output=True, env=environment, check=False)


def test_boxes_within_each_other_need_no_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for depth in (99, 101, 9_990):
        files.append(str(tmp_path / f"{depth}.avif"))
        Path(files[-1]).write_bytes(nested_avif(depth))
    done = on_a_small_stack(*files, kib=1024)
    assert main(["predict", "--json", "--engine", "onnxruntime", *files]) == done.returncode == 3
    python, native = capsys.readouterr().out.splitlines(), done.stdout.decode().splitlines()
    # What libavif says of a file without a picture depends on its version.
    assert python[1:] == native[1:]
    assert all('"code":"truncated"' in line for line in (*python, *native))
    assert all("over 100 boxes within each other" in line for line in native[1:])


@pytest.mark.parametrize("content", ["[" * 950 + "]" * 950, "[" * 5000, '{"a":' * 900 + "1" + "}" * 900])
def test_a_manifest_of_many_levels_needs_no_stack(content: str, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    fields = (bundle.path / "manifest.json").read_text(encoding="utf-8")
    inside = fields.replace("{", '{"deep": ' + content + ", ", 1)
    (bundle.path / "manifest.json").write_text(inside, encoding="utf-8")
    done = on_a_small_stack("--model", bundle.path, "a.jpg")
    assert done.returncode == BundleError.exit_code, done.stderr
    # In a thread of its own, since Python counts the levels of whoever calls.
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(Bundle.open, bundle.path).exception()
    assert isinstance(error, BundleError)
    assert done.stderr.decode() == f"error: {error}\n"


@pytest.mark.parametrize("count", [200, 201, 60_000])
def test_a_pattern_of_many_names_is_a_result(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = f"{tmp_path.as_posix()}/" + "*/" * count
    done = on_a_small_stack(pattern)
    assert main(["predict", "--json", "--engine", "onnxruntime", pattern]) == done.returncode == 3
    assert capsys.readouterr().out == done.stdout.decode()
