"""What the markers of a JPEG say about the work of decoding it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from ghostclas.image_formats.jpeg import MAX_PADDING, MAX_SEGMENTS, read_work
from tests.hostile_images import jpeg_of_scans, sequential_jpeg_of_scans
from tests.images import encode, exif, photo


def test_a_file_of_one_scan_keeps_nothing() -> None:
    for data in (encode(photo(60, 40), "JPEG", exif=exif(6)), encode(photo(60, 40)[..., 0], "JPEG")):
        work = read_work(data)
        assert (work.kept_bytes, work.scans, work.scanned_blocks) == (0, 1, 0)


def test_blocks_of_an_arithmetic_code_count_ten_times() -> None:
    data = encode(photo(64, 64)[..., 0], "JPEG").replace(b"\xff\xc0", b"\xff\xc9")
    assert read_work(data).scanned_blocks == 10 * 64


@pytest.mark.parametrize(("subsampling", "blocks"), [(0, 3 * 8 * 5), (1, 2 * 8 * 5), (2, 8 * 6 * 3 // 2)])
def test_a_progressive_file_keeps_the_blocks_of_every_component(subsampling: int, blocks: int) -> None:
    data = encode(photo(60, 40), "JPEG", progressive=True, subsampling=subsampling)
    work = read_work(data)
    assert work.kept_bytes == blocks * 64 * 2
    assert work.scans == data.count(b"\xff\xda") == 10
    assert work.scanned_blocks > blocks


def test_scans_of_components_alone_are_counted_without_progression() -> None:
    work = read_work(sequential_jpeg_of_scans(64, 64, 5))
    assert (work.scans, work.scanned_blocks, work.kept_bytes) == (5, 5 * 64, 3 * 64 * 128)


def test_repeated_scans_are_counted() -> None:
    once, again = read_work(jpeg_of_scans(64, 64, 0)), read_work(jpeg_of_scans(64, 64, 30))
    assert again.scans == once.scans + 30
    assert again.scanned_blocks == once.scanned_blocks + 30 * 64


def test_what_follows_the_end_does_not_count() -> None:
    data = encode(photo(60, 40), "JPEG", progressive=True)
    assert read_work(data + data) == read_work(data)


def test_more_segments_or_padding_than_a_photo_has_are_refused() -> None:
    data = encode(Image.fromarray(np.zeros((8, 8), np.uint8)), "JPEG")
    comment = b"\xff\xfe\0\x03x"
    assert read_work(data[:2] + comment * (MAX_SEGMENTS - 20) + data[2:]).scans == 1
    with pytest.raises(ValueError, match="over 1,000 segments"):
        read_work(data[:2] + comment * MAX_SEGMENTS + data[2:])
    with pytest.raises(ValueError, match="padding"):
        read_work(data[:2] + b"\xff" * (MAX_PADDING + 2) + data[2:])


def test_a_header_that_breaks_off_is_refused() -> None:
    data = encode(photo(60, 40), "JPEG")
    with pytest.raises((IndexError, struct.error)):
        read_work(data[: data.index(b"\xff\xc0") + 5])
