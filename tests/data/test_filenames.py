"""What a file is, by its name and else by its content; what is hidden; what this package wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghostclas.data.filenames import (
    describe_left_out,
    is_hidden,
    is_image,
    other_kind,
    own_output,
    read_head,
)


def refuse_to_read() -> bytes:
    raise AssertionError("the extension is known, the file must stay closed")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/b.JPG", None),
        ("b.pjpeg", None),
        ("d.cr2", "camera raw"),
        ("e.jxl", "JPEG XL"),
        ("f.txt", ".txt"),
    ],
)
def test_a_known_extension_decides_without_opening_the_file(name: str, kind: str | None) -> None:
    assert other_kind(name, refuse_to_read) == kind


@pytest.mark.parametrize(("installed", "kind"), [(True, None), (False, "HEIC")])
def test_photos_of_phones_are_images_where_their_extra_is(
    installed: bool, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.data.filenames.reads_heic", lambda: installed)
    assert other_kind("a.HEIC", refuse_to_read) == other_kind("b.hif", refuse_to_read) == kind
    assert other_kind("scan", lambda: b"\0\0\0\x18ftypheic") == kind
    assert is_image("a.heic") is installed


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", None),
        (b"BM" + bytes(12) + b"\x28\0\0\0", None),
        (b"P6\n# made by hand\n4 3 255\n", None),
        (b"BMW, and other brands", "no extension"),
        (b"P3 is a bus line", "no extension"),
        (b"8BPS", "PSD"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"", "no extension"),
    ],
)
def test_the_content_decides_where_the_extension_is_unknown(head: bytes, kind: str | None) -> None:
    assert other_kind("scan", lambda: head) == kind


def test_names_of_systems_are_hidden_in_any_case() -> None:
    assert all(map(is_hidden, (".git", "THUMBS.DB", "$Recycle.Bin", "lost+found", "@eaDir", "#recycle")))
    assert not any(map(is_hidden, ("lost", "recycle", "thumbs", "a.git")))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ({"config.yaml", "checkpoints"}, "a training run"),
        ({"log.jsonl", "bundle/manifest.json"}, "a training run"),
        ({"manifest.json", "weights.safetensors"}, "a bundle"),
        ({"predictions.csv", "predictions.jsonl"}, "predictions"),
        ({"index.html", "gallery.json", "thumbnails"}, "a gallery"),
        ({"config.yaml", "cat.jpg"}, None),
        ({"index.html", "thumbnails", "cat.jpg"}, None),
        ({"manifest.json", "cat.jpg"}, None),
    ],
)
def test_a_folder_is_told_by_what_it_holds(names: set[str], what: str | None) -> None:
    assert own_output("", names.__contains__) == what
    assert own_output("a/b", {f"a/b/{name}" for name in names}.__contains__) == what


def test_one_line_counts_the_most_frequent_kinds() -> None:
    kinds = {f".{letter}": 1 for letter in "abcdefgh"} | {".txt": 1200}
    assert describe_left_out(kinds) == (
        "left out 1,208 files that are no images: 1,200 .txt, 1 .a, 1 .b, 1 .c, 1 .d, 1 .e, 3 of other kinds"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_looking_at_a_pipe_or_at_nothing_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_head(tmp_path / "pipe") == read_head(tmp_path / "gone") == b""
