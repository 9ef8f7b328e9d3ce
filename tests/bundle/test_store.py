"""Folders and archives: what is missing, linked, damaged or hostile is refused."""

from __future__ import annotations

import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, pack
from ghostclas.errors import BundleError
from tests.bundle.made import assert_one_sentence
from tests.limited import run_python


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "reference.safetensors"])
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        Bundle.open(bundle.path)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_symbolic_links_are_refused_and_not_followed(bundle: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    shutil.move(bundle.path / "model.onnx", outside)
    (bundle.path / "model.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"model.onnx is a symbolic link"):
        Bundle.open(bundle.path)


def test_a_folder_of_the_name_of_a_file_is_refused(bundle: Bundle) -> None:
    (bundle.path / "model.onnx").unlink()
    (bundle.path / "model.onnx").mkdir()
    with pytest.raises(BundleError, match=r"model.onnx is not a regular file"):
        Bundle.open(bundle.path)


def test_what_is_no_bundle_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle here"):
        Bundle.open(tmp_path / "absent")
    with pytest.raises(BundleError, match=r"manifest.json is missing"):
        Bundle.open(tmp_path)
    (tmp_path / "text.zip").write_text("not an archive")
    with pytest.raises(BundleError, match=r"not a complete .zip archive"):
        Bundle.open(tmp_path / "text.zip")


def test_what_was_unpacked_goes_with_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    opened = Bundle.open(pack(bundle, tmp_path / "bundle.zip"))
    unpacked = opened.file().path
    assert unpacked.exists()
    del opened
    assert not unpacked.exists()


def archive_with(bundle: Bundle, path: Path, *extra: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(pack(bundle, path), "a") as archive:
        for info, content in extra:
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    "name", ["../escaped", "/escaped", "a/../../escaped", "C:/escaped", "a\\..\\escaped"]
)
def test_an_archive_with_a_member_outside_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name
    path = archive_with(bundle, tmp_path / "bundle.zip", (info, b"x"))
    with pytest.raises(BundleError, match="refused, nothing was unpacked") as caught:
        Bundle.open(path)
    assert_one_sentence(caught.value, path)
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_with_a_symbolic_link_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    path = archive_with(bundle, tmp_path / "bundle.zip", (link, b"/etc/passwd"))
    with pytest.raises(BundleError, match="link is a symbolic link"):
        Bundle.open(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_files_of_one_name_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = archive_with(bundle, tmp_path / "bundle.zip", (zipfile.ZipInfo("model.onnx"), b"other"))
    with pytest.raises(BundleError, match=r"holds model\.onnx twice"):
        Bundle.open(path)


def test_an_archive_of_two_bundles_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for top in ("a", "b"):
            archive.write(bundle.path / "manifest.json", f"{top}/manifest.json")
    with pytest.raises(BundleError, match="holds 2 bundles"):
        Bundle.open(path)


def test_a_truncated_archive_is_refused_wherever_it_was_cut(bundle: Bundle, tmp_path: Path) -> None:
    whole = pack(bundle, tmp_path / "bundle.zip").read_bytes()
    cut = tmp_path / "cut.zip"
    for length in range(0, len(whole), len(whole) // 25):
        cut.write_bytes(whole[:length])
        with pytest.raises(BundleError) as caught:
            Bundle.open(cut)
        assert_one_sentence(caught.value, cut)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_the_archive_does_not_hold_to_its_end_is_told_so(
    bundle: Bundle, tmp_path: Path, compression: int
) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.write(bundle.path / "manifest.json", "manifest.json")
    content = bytearray(path.read_bytes())
    # The first member's header says that 65,535 bytes lie between it and its content.
    content[28:30] = b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read \(it ends too soon\); ") as caught:
        Bundle.open(path)
    assert_one_sentence(caught.value, path)


@pytest.mark.parametrize("at", [5, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_member_that_lies_anywhere_else_is_told_so(bundle: Bundle, tmp_path: Path, at: int) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(bundle.path / "manifest.json", "manifest.json")
        # Written as it is, in 64 bits where it needs them, when the archive is closed.
        archive.infolist()[0].header_offset = at
    with pytest.raises(
        BundleError, match=r"cannot be read \(it does not begin where the archive says\); "
    ) as caught:
        Bundle.open(path)
    assert_one_sentence(caught.value, path)


def test_a_damaged_archive_raises_nothing_but_bundle_errors(bundle: Bundle, tmp_path: Path) -> None:
    whole = pack(bundle, tmp_path / "bundle.zip").read_bytes()
    damaged = tmp_path / "damaged.zip"
    rng = random.Random(0)
    refused = 0
    # The directory of the archive is at its end.
    for position in rng.sample(range(len(whole) - 400, len(whole)), 150):
        changed = bytearray(whole)
        changed[position] ^= 1 << rng.randrange(8)
        damaged.write_bytes(changed)
        try:
            Bundle.open(damaged).check()
        except BundleError as error:
            assert_one_sentence(error, damaged)
            refused += 1
    assert refused > 50


def test_an_archive_of_zeros_is_not_unpacked(bundle: Bundle, tmp_path: Path) -> None:
    path = pack(bundle, tmp_path / "bundle.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
        for _ in range(80):
            member.write(bytes(2**20))
    with pytest.raises(
        BundleError, match=r"refused, nothing was unpacked: its .* would become 83,"
    ) as caught:
        Bundle.open(path)
    assert_one_sentence(caught.value, path)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_takes_unbounded_memory_is_refused(
    bundle: Bundle, tmp_path: Path, kind: int
) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", kind) as archive:
        for file in bundle.path.iterdir():
            archive.write(file, file.name)
    with pytest.raises(BundleError, match=r"manifest.json is compressed in an unusual way") as caught:
        Bundle.open(path)
    assert_one_sentence(caught.value, path)


def test_members_that_lie_over_each_other_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = pack(bundle, tmp_path / "bundle.zip")
    with zipfile.ZipFile(path, "a") as archive:
        model = archive.getinfo("model.onnx")
        for number in range(20):
            again = zipfile.ZipInfo(f"copy {number}")
            again.header_offset, again.CRC = model.header_offset, model.CRC
            again.file_size = again.compress_size = model.file_size
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match="its members lie over each other"):
        Bundle.open(path)


def test_large_archives_and_long_names_take_little_time_and_memory(tmp_path: Path) -> None:
    code = """
import sys, zipfile
from pathlib import Path
from ghostclas.bundle import Bundle, FileContent, pack
from ghostclas.errors import BundleError
from tests.bundle.made import write

folder = Path(sys.argv[1])
files = {f"{number:03}.bin": FileContent(b"x", "other") for number in range(900)}
bundle = write(folder / "many", files=files)
Bundle.open(pack(bundle, folder / "many.zip")).check()
long_list = [f"{number}" * 2 for number in range(60_000)]
for name, members in (("deep", ["a/" * 20_000 + "b"]), ("list", long_list)):
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for member in members:
            archive.writestr(member, b"")
    try:
        Bundle.open(folder / f"{name}.zip")
    except BundleError as error:
        print(error)
"""
    done = run_python(code, tmp_path)
    deep, long = done.stdout.splitlines()
    assert "40,001 characters in 20,001 levels; 1,000 in 32 are allowed" in deep
    assert "not a complete .zip archive (the list of its members has" in long
    assert done.cpu_seconds < 20
    assert done.peak_bytes < 400e6
