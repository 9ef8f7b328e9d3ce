"""What a bundle on disk promises: it verifies or is refused, and is replaced whole or not at all."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostclas import files
from ghostclas.bundle import (
    Bundle,
    FileContent,
    FileParity,
    Reference,
    TensorSpec,
    add_files,
    default_bundle_path,
    pack,
    record_metric,
    update_manifest,
    write_bundle,
)
from ghostclas.bundle import writer as bundle_writer
from ghostclas.bundle.manifest import serialise
from ghostclas.errors import BundleError
from ghostclas.files import lock
from ghostclas.spec import Metric, ModelSpec, PostprocessSpec, PreprocessSpec, ResizeSpec

CLASSES = ("tabby, tabby cat", "小狗", "acorn")
INPUT = TensorSpec(name="images", dtype="uint8", layout="NHWC", shape=(None, 32, 32, 3))
OUTPUT = TensorSpec(name="logits", dtype="float32", layout="NC", shape=(None, len(CLASSES)))


def model(content: bytes | Path = b"a model " * 100, **changes: Any) -> FileContent:
    return FileContent(content, **{"format": "onnx", "input": INPUT, "output": OUTPUT} | changes)


def a_reference(side: int = 32, classes: int = len(CLASSES)) -> Reference:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    return Reference(
        [b"\xff\xd8 one", b"\xff\xd8 another"], pixels, rng.normal(size=(2, classes)).astype("f4")
    )


def write(target: Path, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "name": "a model",
        "spec": ModelSpec(name="ghostnet_x0_5", num_classes=len(CLASSES)),
        "classes": CLASSES,
        "preprocess": PreprocessSpec(resize=ResizeSpec(short_side=36), crop=32),
        "files": {
            "model.onnx": model(),
            "weights.safetensors": FileContent(b"weights", "weights"),
            "reference.safetensors": FileContent(a_reference().to_bytes(), "reference"),
        },
        "provenance": {"recipe": "none", "seed": 1},
    }
    return write_bundle(target, **fields | changes)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write(tmp_path / "bundle")


@pytest.fixture(params=["folder", "zip", "zip of a folder"])
def copy(request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path) -> Path:
    if request.param == "folder":
        return bundle.path
    if request.param == "zip":
        return pack(bundle, tmp_path / "bundle.zip")
    path = tmp_path / "by hand.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bundle.path, "top")
        for file in bundle.path.iterdir():
            archive.write(file, f"top/{file.name}")
        archive.writestr("__MACOSX/top/._model.onnx", b"left by a file manager")
    return path


def edit_manifest(path: Path, change: Callable[[dict[str, Any]], None], *, digest: bool = True) -> None:
    """Change the manifest as somebody would who knows how its digest is made."""
    file = path / "manifest.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    change(fields)
    if digest:
        fields["digest"] = "0" * 64
    text = json.dumps(fields)
    if digest:
        text = text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1)
    file.write_text(text, encoding="utf-8")


def assert_one_sentence(error: BundleError, path: Path) -> None:
    assert str(error).startswith(f"{path}: ")
    assert "\n" not in str(error)


# ------------------------------------------------------------------ reading


def test_everything_written_is_read_again(copy: Path) -> None:
    opened = Bundle.open(copy)
    assert opened.name == "a model"
    assert opened.classes == CLASSES
    assert opened.spec.num_classes == 3
    assert opened.preprocess.crop == 32
    assert opened.postprocess == PostprocessSpec()
    assert opened.manifest.provenance == {"recipe": "none", "seed": 1}
    assert opened.read("weights.safetensors") == b"weights"
    file = opened.file()
    assert file.entry.path == "model.onnx"
    assert file.read() == file.path.read_bytes() == b"a model " * 100
    opened.check()
    written, read = a_reference(), opened.reference()
    assert list(read.jpegs) == list(written.jpegs)
    np.testing.assert_array_equal(read.pixels, written.pixels)
    np.testing.assert_array_equal(read.logits, written.logits)


@pytest.mark.parametrize("name", ["model.onnx", "reference.safetensors", "weights.safetensors"])
def test_one_changed_byte_is_caught_when_the_file_is_used(copy: Path, name: str) -> None:
    def change(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    rewrite(copy, name, change)
    opened = Bundle.open(copy)
    with pytest.raises(BundleError, match=f"{name} is not the file that was exported") as caught:
        opened.read(name)
    assert_one_sentence(caught.value, copy)
    with pytest.raises(BundleError, match=name):
        opened.check()
    if name == "model.onnx":
        with pytest.raises(BundleError, match=name):
            _ = opened.file().path
    else:
        assert opened.file().read()


def test_no_changed_byte_of_the_manifest_goes_unnoticed(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    content = path.read_bytes()
    meaning = json.loads(content)
    rng = random.Random(0)
    for position in rng.sample(range(len(content)), 300):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            same = json.loads(changed) == meaning  # white space, or the 17th digit of a number
        except ValueError:
            same = False
        if same:
            assert Bundle.open(bundle.path).manifest == bundle.manifest, position
        else:
            with pytest.raises(BundleError) as caught:
                Bundle.open(bundle.path)
            assert_one_sentence(caught.value, bundle.path)


def rewrite(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of a bundle, in a folder or in an archive, whose own checksums stay right."""
    if path.is_dir():
        (path / name).write_bytes(change((path / name).read_bytes()))
        return
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, change(content) if member.rpartition("/")[2] == name else content)


def test_a_file_of_another_length_is_refused_on_opening(copy: Path) -> None:
    rewrite(copy, "model.onnx", lambda content: content[:-1])
    with pytest.raises(BundleError, match=r"model.onnx has 799 bytes, its manifest says 800") as caught:
        Bundle.open(copy)
    assert_one_sentence(caught.value, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["classes"].append("fourth"), "lists 4 classes for a network with 3 outputs"),
        (lambda m: m["classes"].reverse(), "label_hash is .* some were changed, reordered or lost"),
        (lambda m: m.update(label_hash="0" * 16), "label_hash is 0000000000000000"),
        (lambda m: m["spec"].update(num_classes=4), "3 classes for a network with 4"),
        (lambda m: m.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda m: m["preprocess"].update(code="import os"), "preprocess.code: Extra inputs"),
        (lambda m: m.pop("classes"), "classes: Field required"),
        (lambda m: m["files"][0].update(path="../model.onnx"), "no plain relative path inside the bundle"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), "no plain relative path"),
        (lambda m: m["files"][0].update(path="a//b"), "no plain relative path"),
        (lambda m: m["files"][0].update(path="..\\model.onnx"), "no plain relative path"),
        (lambda m: m["files"][0].update(path="C:model.onnx"), "no plain relative path"),
        (lambda m: m["files"][0].update(path=""), "no plain relative path"),
        (lambda m: m["files"][0].update(path="Manifest.json"), "cannot list itself"),
        (lambda m: m["files"][1].update(path="MODEL.onnx"), "lists MODEL.onnx twice"),
        (lambda m: m["files"][0].update(sha256="beef"), r"files.0.sha256"),
        (lambda m: m["files"][0]["output"].update(shape=[None, 4]), "outputs .None, 4. for 3 classes"),
        (lambda m: m["files"][0]["input"].update(shape=[None, 64, 64, 3]), "preprocessing gives 32 x 32 RGB"),
        (lambda m: m["files"][0]["input"].update(shape=[None, 32, 32]), "layout NHWC has 4 sizes"),
        (lambda m: m["files"][0].update(output=None), "only one of input and output"),
        (lambda m: m["preprocess"].update(std=[0, 1, 1]), "std must be positive"),
        (lambda m: m.update(schema_version=3), r"newer ghostclas \(schema_version 3; .* pip install -U"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    bundle: Bundle, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_manifest(bundle.path, change)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(bundle.path)
    assert_one_sentence(caught.value, bundle.path)


def test_a_change_that_only_the_digest_shows_is_refused(bundle: Bundle) -> None:
    edit_manifest(bundle.path, lambda m: m["preprocess"].update(mean=[0.5, 0.5, 0.5]), digest=False)
    with pytest.raises(BundleError, match="changed by hand or damaged"):
        Bundle.open(bundle.path)


def test_the_digest_needs_no_json(bundle: Bundle) -> None:
    update_manifest(bundle, provenance={"digest": "0" * 64, "lr": 1e-05, "name": '\u00e9 "digest": "'})
    content = (bundle.path / "manifest.json").read_bytes()
    digits = re.search(rb'"digest": "([0-9a-f]{64})"', content)
    assert digits
    zeros = content[: digits.start(1)] + b"0" * 64 + content[digits.end(1) :]
    assert hashlib.sha256(zeros).hexdigest().encode() == digits[1]
    assert Bundle.open(bundle.path).manifest.provenance["lr"] == 1e-05


@pytest.mark.parametrize("at", ["blank", "digest"])
def test_one_other_byte_is_refused(bundle: Bundle, at: str) -> None:
    file = bundle.path / "manifest.json"
    content = file.read_bytes()
    if at == "blank":
        content += b"\n"
    else:
        start = content.index(b'"digest": "') + len(b'"digest": "')
        content = (
            content[:start] + (b"1" if content[start : start + 1] == b"0" else b"0") + content[start + 1 :]
        )
    file.write_bytes(content)
    with pytest.raises(BundleError, match="changed by hand or damaged"):
        Bundle.open(bundle.path)


def write_version_1(bundle: Bundle) -> None:
    """Write the manifest with the digest of version 1, which depends on how Python prints numbers."""
    fields = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
    del fields["digest"]
    fields["schema_version"] = 1
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    fields["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    (bundle.path / "manifest.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")


def test_an_old_bundle_opens_and_is_written_anew(bundle: Bundle) -> None:
    update_manifest(bundle, provenance={"lr": 1e-05, "name": "\u00e9"})
    write_version_1(bundle)
    old = Bundle.open(bundle.path)
    old.check()
    assert old.manifest.provenance == {"lr": 1e-05, "name": "\u00e9"}
    renewed = update_manifest(old, name="renewed")
    content = (renewed.path / "manifest.json").read_bytes()
    assert json.loads(content)["schema_version"] == 2
    assert serialise(renewed.manifest) == content


def test_a_changed_old_bundle_is_refused(bundle: Bundle) -> None:
    write_version_1(bundle)
    file = bundle.path / "manifest.json"
    file.write_text(file.read_text(encoding="utf-8").replace("tabby cat", "tabby dog"), encoding="utf-8")
    with pytest.raises(BundleError, match="label_hash is"):
        Bundle.open(bundle.path)
    write_version_1(write(bundle.path))
    file.write_text(file.read_text(encoding="utf-8").replace('"none"', '"some"'), encoding="utf-8")
    with pytest.raises(BundleError, match="changed by hand or damaged"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"name": NaN}', "NaN is no number"),
    ],
)
def test_a_manifest_that_is_none_is_refused(bundle: Bundle, content: bytes, message: str) -> None:
    (bundle.path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(bundle.path)
    assert_one_sentence(caught.value, bundle.path)


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


def test_an_unknown_file_or_format_is_told_with_what_there_is(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no ncnn file .*there is: onnx fp32.*--format ncnn"):
        bundle.file("ncnn")
    with pytest.raises(BundleError, match="no onnx int8 file"):
        bundle.file("onnx", "int8")
    with pytest.raises(BundleError, match=r"no model.bin in this bundle"):
        bundle.read("model.bin")


def test_files_without_an_input_of_their_own_come_along(tmp_path: Path) -> None:
    files = {
        "ir/model.bin": FileContent(b"weights", "openvino"),
        "ir/model.xml": model(b"graph", format="openvino"),
        "int8/model.bin": FileContent(b"other weights", "openvino", "int8"),
    }
    path = pack(write(tmp_path / "bundle", files=files), tmp_path / "bundle.zip")
    opened = Bundle.open(path)
    main = opened.file("openvino").path
    assert main.read_bytes() == b"graph"
    assert (main.parent / "model.bin").read_bytes() == b"weights"
    assert not (main.parents[1] / "int8").exists()
    folder = tmp_path / "bundle"
    (folder / "ir/model.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(BundleError, match=r"ir/model.bin is not the file"):
        _ = Bundle.open(folder).file("openvino").path


def test_what_was_unpacked_goes_with_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    opened = Bundle.open(pack(bundle, tmp_path / "bundle.zip"))
    unpacked = opened.file().path
    assert unpacked.exists()
    del opened
    assert not unpacked.exists()


@pytest.mark.parametrize(
    "reference",
    [
        b"no safetensors",
        a_reference(side=64).to_bytes(),
        a_reference(classes=4).to_bytes(),
        Reference([b"one"], a_reference().pixels, a_reference().logits).to_bytes(),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(tmp_path: Path, reference: bytes) -> None:
    files = {"model.onnx": model(), "reference.safetensors": FileContent(reference, "reference")}
    opened = write(tmp_path / "bundle", files=files)
    with pytest.raises(BundleError, match=r"reference\.safetensors") as caught:
        opened.reference()
    assert_one_sentence(caught.value, opened.path)


def test_a_bundle_without_a_reference_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no reference\.safetensors in this bundle"):
        write(tmp_path / "bundle", files={"model.onnx": model()}).reference()


# ------------------------------------------------------------------ archives


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


def test_packing_gives_the_same_bytes_every_time(bundle: Bundle, tmp_path: Path) -> None:
    first = pack(bundle, tmp_path / "a.zip").read_bytes()
    os.utime(bundle.path / "model.onnx", (1, 1))
    assert pack(Bundle.open(bundle.path), tmp_path / "b.zip").read_bytes() == first
    assert pack(Bundle.open(tmp_path / "a.zip"), tmp_path / "c.zip").read_bytes() == first


def test_a_damaged_bundle_is_not_packed(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.path / "weights.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(BundleError, match=r"weights.safetensors is not the file"):
        pack(bundle, tmp_path / "bundle.zip")
    assert entries(tmp_path) == ["bundle"]


# ------------------------------------------------------------------ writing


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    for name in entries(first.path):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_a_bundle_is_replaced_and_leaves_nothing_behind(bundle: Bundle, tmp_path: Path) -> None:
    replaced = write(bundle.path, name="the next", files={"model.onnx": model(b"other")})
    assert replaced.name == "the next"
    assert entries(replaced.path) == ["manifest.json", "model.onnx"]
    assert entries(tmp_path) == ["bundle"]


@pytest.mark.parametrize("thing", ["file", "folder"])
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, thing: str) -> None:
    target = tmp_path / "photos"
    if thing == "folder":
        target.mkdir()
        (target / "holiday.jpg").write_bytes(b"dear to somebody")
    else:
        target.write_bytes(b"dear to somebody")
    with pytest.raises(BundleError, match="there is something here that is no bundle"):
        write(target)
    assert entries(tmp_path) == ["photos"]
    assert (target / "holiday.jpg" if thing == "folder" else target).read_bytes() == b"dear to somebody"


def test_an_empty_folder_becomes_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert write(tmp_path / "bundle").name == "a model"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": CLASSES[:2]}, "lists 2 classes for a network with 3"),
        ({"files": {"../model.onnx": model()}}, "no plain relative path"),
        ({"files": {"/model.onnx": model()}}, "no plain relative path"),
        ({"files": {"manifest.json": model()}}, "cannot list itself"),
        ({"files": {"model.onnx": model(output=None)}}, "only one of input and output"),
        ({"name": ""}, "name: "),
    ],
)
def test_parts_that_do_not_fit_are_not_written(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        write(tmp_path / "bundle", **changes)
    assert entries(tmp_path) == []


class Killed(BaseException):
    """Stands for the end of the process: nothing in the package catches it on purpose."""


def dies_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the ``step``-th thing that is done to the disk end everything: nothing after it has an effect.

    Clean-up has none either, as in a process that is gone.
    """
    counter = iter(range(step))

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            if next(counter, None) is None:
                raise Killed
            return function(*args, **options)

        return wrapped

    for name in ("rename", "replace", "mkdir", "write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, deadly(getattr(Path, name)))
    for name in ("rmtree", "copyfile"):
        monkeypatch.setattr(shutil, name, deadly(getattr(shutil, name)))
    monkeypatch.setattr(os, "link", deadly(os.link))
    monkeypatch.setattr(files, "flush", deadly(files.flush))


CHANGES: dict[str, Callable[[Bundle], Bundle]] = {
    "write_bundle": lambda bundle: write(bundle.path, name="new", files={"model.onnx": model(b"new")}),
    "add_files": lambda bundle: add_files(
        bundle, {"model.onnx": model(b"new"), "model.fp16.onnx": model(b"half", precision="fp16")}
    ),
    "update_manifest": lambda bundle: update_manifest(bundle, name="new"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_any_instant_leaves_the_old_or_the_new_bundle(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write(tmp_path / "old")
    new = CHANGES[change](write(tmp_path / "new"))
    versions = {serialise(old.manifest): "old", serialise(new.manifest): "new"}
    seen = []
    between_renames = 0
    for step in range(100):
        target = tmp_path / f"at_{step}" / "bundle"
        bundle = write(target)
        with monkeypatch.context() as patch:
            dies_at(patch, step)
            try:
                CHANGES[change](bundle)
            except Killed:
                died = True
            else:
                died = False
        between_renames += not target.exists()
        left = Bundle.open(target)
        left.check()
        seen.append(versions[serialise(left.manifest)])
        # Whoever writes next is not in the way of what was left.
        again = CHANGES[change](Bundle.open(target) if change == "write_bundle" else write(target))
        again.check()
        assert versions[serialise(again.manifest)] == "new"
        if not died:
            break
    assert not died
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == "old"
    assert len(seen) > 4
    assert between_renames == (change != "update_manifest")


@pytest.mark.parametrize("change", CHANGES)
def test_an_error_while_writing_leaves_the_old_bundle_and_nothing_else(
    bundle: Bundle, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "flush", full)
        with pytest.raises(OSError, match="No space left"):
            CHANGES[change](bundle)
    assert entries(tmp_path) == ["bundle"]
    assert entries(bundle.path) == [
        "manifest.json",
        "model.onnx",
        "reference.safetensors",
        "weights.safetensors",
    ]
    assert serialise(Bundle.open(bundle.path).manifest) == serialise(bundle.manifest)


def test_files_are_added_and_replaced(bundle: Bundle, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(b"made elsewhere")
    parity = FileParity(
        file="ncnn/net.bin",
        engine="ncnn",
        images=2,
        max_abs=0,
        mean_abs=0,
        top1_agreement=1,
        tolerance=1,
        ok=True,
    )
    files = {"model.onnx": model(b"better"), "ncnn/net.bin": model(big, format="ncnn")}
    grown = add_files(bundle, files, parity=[parity])
    assert big.exists()
    assert [entry.path for entry in grown.manifest.files] == [
        "model.onnx",
        "weights.safetensors",
        "reference.safetensors",
        "ncnn/net.bin",
    ]
    assert grown.file().read() == b"better"
    assert grown.file("ncnn").read() == b"made elsewhere"
    assert grown.read("weights.safetensors") == b"weights"
    assert grown.manifest.parity == (parity,)
    grown.check()
    assert add_files(grown, {"ncnn/net.bin": model(b"new", format="ncnn")}).manifest.parity == ()


def test_a_damaged_file_is_not_carried_over(bundle: Bundle) -> None:
    (bundle.path / "weights.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(BundleError, match=r"weights.safetensors is not the file"):
        add_files(bundle, {"other.onnx": model()})


def test_changes_do_not_undo_each_other(bundle: Bundle) -> None:
    update_manifest(bundle, postprocess=PostprocessSpec(temperature=2))
    metrics = [Metric(dataset="val", images=9, top1=top1, through="onnxruntime") for top1 in (50.0, 60.0)]
    for metric in metrics:
        record_metric(bundle, metric)
    record_metric(bundle, metrics[0].model_copy(update={"through": "openvino"}))
    manifest = Bundle.open(bundle.path).manifest
    assert manifest.postprocess.temperature == 2
    assert [(metric.through, metric.top1) for metric in manifest.metrics] == [
        ("onnxruntime", 60.0),
        ("openvino", 50.0),
    ]


def add_one(path: Path, number: int) -> None:
    bundle = Bundle.open(path)
    add_files(bundle, {f"extra/{number}.bin": FileContent(bytes(1000), "extra")})
    record_metric(bundle, Metric(dataset=f"data {number}", images=9, top1=50.0, through="onnxruntime"))


def test_no_file_is_lost_where_processes_add_to_one_bundle(bundle: Bundle) -> None:
    spawn = multiprocessing.get_context("forkserver")
    processes = [spawn.Process(target=add_one, args=(bundle.path, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    together = Bundle.open(bundle.path)
    together.check()
    added = {entry.path for entry in together.manifest.files if entry.format == "extra"}
    assert added == {f"extra/{number}.bin" for number in range(8)}
    assert len(together.manifest.metrics) == 8
    assert entries(bundle.path.parent) == [bundle.path.name]


def test_a_writer_that_waits_too_long_is_told_for_whom(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_writer, "_WAIT_SECONDS", 0.0)
    with (
        lock(bundle.path.with_name(f".{bundle.path.name}.lock")),
        pytest.raises(BundleError, match="another thread of this process has been changing this bundle"),
    ):
        update_manifest(bundle, name="new")
    assert update_manifest(bundle, name="new").name == "new"


def test_a_manifest_is_not_changed_into_nonsense(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="label_hash is"):
        update_manifest(bundle, classes=("a", "b", "c"))
    assert Bundle.open(bundle.path).classes == CLASSES


def test_an_archive_is_not_changed_in_place(bundle: Bundle, tmp_path: Path) -> None:
    packed = Bundle.open(pack(bundle, tmp_path / "bundle.zip"))
    with pytest.raises(BundleError, match="an archive is not changed in place"):
        update_manifest(packed, name="new")
    with pytest.raises(BundleError, match="an archive is not changed in place"):
        add_files(packed, {"other.onnx": model()})


def test_the_default_bundle_is_part_of_the_package() -> None:
    import ghostclas

    assert default_bundle_path().is_relative_to(Path(str(ghostclas.__file__)).parent)


def test_importing_it_is_cheap() -> None:
    heavy = "torch numpy onnx onnxruntime safetensors PIL"
    code = f"import sys, ghostclas.bundle; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
