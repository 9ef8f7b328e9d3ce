"""Which boxes of an AVIF are too many."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from ghostclas.image_formats.avif import MAX_BOXES, MAX_DEPTH, MAX_TABLE_BYTES, check_tables
from tests.hostile_images import avif_of_items
from tests.image_formats.nested_avif import nested_avif
from tests.images import encode, photo


def test_pictures_and_animations_pass() -> None:
    frames = [Image.fromarray(photo(60, 40, seed)) for seed in range(5)]
    check_tables(encode(frames[0], "AVIF"))
    check_tables(encode(frames[0], "AVIF", save_all=True, append_images=frames[1:]))
    check_tables(avif_of_items(1000))


@pytest.mark.parametrize("container", [b"meta", b"moov"])
@pytest.mark.parametrize("wide", [False, True])
def test_long_tables_are_refused_wherever_they_are(container: bytes, wide: bool) -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        if wide:
            return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
        return struct.pack(">I4s", 8 + len(content), kind) + content

    inside = bytes(4) if container == b"meta" else b""
    good = box(container, inside + box(b"iloc", bytes(MAX_TABLE_BYTES // 2)))
    check_tables(good)
    with pytest.raises(ValueError, match="bytes of tables"):
        check_tables(good + good)


def test_too_many_boxes_are_refused() -> None:
    empty = struct.pack(">I4s", 8, b"free")
    check_tables(empty * MAX_BOXES)
    with pytest.raises(ValueError, match="boxes"):
        check_tables(empty * (MAX_BOXES + 1))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 9_000])
def test_boxes_that_lie_too_deep_are_refused(depth: int) -> None:
    check_tables(nested_avif(MAX_DEPTH - 1))
    with pytest.raises(ValueError, match="over 100 boxes within each other"):
        check_tables(nested_avif(depth))


def test_a_box_that_ends_before_it_begins_ends_the_walk() -> None:
    check_tables(struct.pack(">I4s", 3, b"free") * 10**5)
