"""Frames: cut from a stream however it arrives, and refused before anything is held for them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.serve.brpc.frames import MAX_META, Frame, FrameError, FrameReader, write_frame

FRAMES = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=6)


@given(FRAMES, st.lists(st.integers(1, 50)))
def test_frames_are_cut_from_any_pieces_of_their_stream(
    pairs: list[tuple[bytes, bytes]], sizes: list[int]
) -> None:
    stream = b"".join(write_frame(meta, body) for meta, body in pairs)
    reader = FrameReader(100)
    frames: list[Frame] = []
    for size in [*sizes, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        frames += reader.feed(piece)
    assert frames == [Frame(meta, body) for meta, body in pairs]
    assert not reader.inside
    assert reader.held == 0


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_are_frames_or_refused(data: bytes, size: int) -> None:
    reader = FrameReader(30)
    try:
        for at in range(0, len(data), size):
            for frame in reader.feed(data[at : at + size]):
                assert len(frame.meta) + len(frame.body) <= 30
    except FrameError:
        return
    assert reader.held < 12 + 30


def header(size: int, meta: int, magic: bytes = b"PRPC") -> bytes:
    return struct.pack(">4sII", magic, size, meta)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"X", "begins with b'X'"),
        (b"PRX", "begins with b'PRX'"),
        (b"HTTP/1.1", "begins with b'HTTP'"),
        (header(101, 0), "101 bytes is larger than 100"),
        (header(2**32 - 1, 2**32 - 1), "larger"),
        (header(10, 11), "a meta of 11 bytes in a frame of 10"),
        (header(10, 2) + bytes(10) + b"NEXT", "begins with b'NEXT'"),
    ],
)
def test_what_is_no_frame_is_refused_at_once(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        list(FrameReader(100).feed(data))


def test_a_large_meta_is_refused_by_its_size() -> None:
    with pytest.raises(FrameError, match="a meta of"):
        list(FrameReader(1 << 30).feed(header(1 << 29, MAX_META + 1)))


def test_a_frame_has_begun_until_it_ends() -> None:
    reader = FrameReader(100)
    whole = write_frame(b"meta", b"body")
    assert list(reader.feed(whole[:15])) == []
    assert (reader.inside, reader.held) == (True, 15)
    assert list(reader.feed(whole[15:])) == [Frame(b"meta", b"body")]
    assert not reader.inside
