"""Small files that ask for much time or memory, large ones that are photos, and six at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.hostile_images import READ, REFUSED, lossless_webp, real_jpeg
from tests.limited import Outcome, run_python

CPU_SECONDS = 2.0
PEAK_BYTES = 600_000_000

MEASURE = """
import json, pathlib, sys, time
from ghostclas.errors import ImageError
from ghostclas.imaging import preprocess
from ghostclas.spec import PreprocessSpec
for path in sys.argv[1:]:
    data = pathlib.Path(path).read_bytes()
    before = time.process_time()
    try:
        preprocess(data, PreprocessSpec())
        code, message = "", ""
    except ImageError as error:
        code, message = error.code, str(error)
    print(json.dumps([path, code, message, time.process_time() - before]))
"""


def measure(made: Mapping[str, Callable[[], bytes]], folder: Path) -> tuple[dict[str, Any], Outcome]:
    """Preprocess the files in one process; return code, message and CPU seconds of each, and its outcome."""
    names = {}
    for number, (name, make) in enumerate(made.items()):
        path = folder / str(number)
        path.write_bytes(make())
        assert path.stat().st_size <= 10_000_000 or "real" in name, name
        names[str(path)] = name
    outcome = run_python(MEASURE, *names, cpu_seconds=120, address_bytes=8 << 30)
    assert outcome.code == 0, outcome.stderr
    lines = map(json.loads, outcome.stdout.splitlines())
    return {names[path]: found for path, *found in lines}, outcome


def test_hostile_files_are_refused_at_once(tmp_path: Path) -> None:
    found, outcome = measure(REFUSED, tmp_path)
    assert found.keys() == REFUSED.keys()
    assert {name: seconds for name, (_, _, seconds) in found.items() if seconds > CPU_SECONDS} == {}
    assert {
        name: code for name, (code, _, _) in found.items() if code not in ("too_large", "truncated")
    } == {}
    assert outcome.peak_bytes < 200_000_000
    assert outcome.stderr == ""


def test_files_at_the_limits_take_little(tmp_path: Path) -> None:
    found, outcome = measure(READ, tmp_path)
    assert found.keys() == READ.keys()
    assert {name: seconds for name, (_, _, seconds) in found.items() if seconds > CPU_SECONDS} == {}
    assert {name: message for name, (code, message, _) in found.items() if code} == {}
    assert outcome.peak_bytes < PEAK_BYTES
    assert outcome.stderr == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("webp: 40 bytes", "16383 x 10900 pixels in 28 bytes: to decode this WebP takes 2,857 MB of memory"),
        ("bmp: RLE8", "196000000 x 1 pixels in 1,082 bytes with run-length coding"),
        ("bmp: 1 x 100,000,000", "in 6,054 bytes, the limit of a side is 10,000,000"),
        ("jpeg: 200 scans of 10 megapixels", "a JPEG of 210 scans"),
        ("png: 1 x 100,000,000", "which unpack to 200 MB, the limit for a PNG of its size is 150 MB"),
        ("tiff: LZMA", "which unpack to 243 MB, the limit for LZMA is 150 MB"),
        ("tiff: 500,000 strips", "500,000 strips or tiles, the limit is 50,000"),
        ("tiff: 20,000 strips over the same bytes", "lie over each other"),
    ],
)
def test_the_message_says_what_was_too_much(name: str, words: str, tmp_path: Path) -> None:
    found, _ = measure({name: REFUSED[name]}, tmp_path)
    assert words in found[name][1]


def test_photos_of_200_megapixels_are_read(tmp_path: Path) -> None:
    found, outcome = measure({"a real photo": lambda: real_jpeg(16320, 12240)}, tmp_path)
    assert found["a real photo"][:2] == ["", ""]
    # The decoder scales it: 200 million pixels never lie in memory.
    assert outcome.peak_bytes < PEAK_BYTES


SIX = """
import sys
from concurrent.futures import ThreadPoolExecutor
from ghostclas.imaging import preprocess
from ghostclas.spec import PreprocessSpec
data = open(sys.argv[1], "rb").read()
with ThreadPoolExecutor(6) as pool:
    shapes = list(pool.map(lambda _: preprocess(data, PreprocessSpec()).shape, range(6)))
print(shapes == [(224, 224, 3)] * 6)
"""


def test_six_large_images_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "large.webp"
    path.write_bytes(lossless_webp(6225, 4000))
    outcome = run_python(SIX, path)
    assert outcome.stdout.strip() == "True", outcome.stderr
    assert outcome.peak_bytes < PEAK_BYTES
