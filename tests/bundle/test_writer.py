"""A bundle is written, changed and packed whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostclas import files
from ghostclas.bundle import Bundle, FileContent, FileParity, add_files, pack, record_metric, update_manifest
from ghostclas.bundle import writer as bundle_writer
from ghostclas.bundle.manifest import serialise
from ghostclas.errors import BundleError
from ghostclas.files import lock
from ghostclas.spec import Metric, PostprocessSpec
from tests.bundle.made import CLASSES, model, write


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
    for name in ("flush", "swap"):
        monkeypatch.setattr(files, name, deadly(getattr(files, name)))


def swaps(folder: Path) -> bool:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    done = files.swap(folder / "a", folder / "b")
    for name in ("a", "b"):
        (folder / name).rmdir()
    return done


CHANGES: dict[str, Callable[[Bundle], Bundle]] = {
    "write_bundle": lambda bundle: write(bundle.path, name="new", files={"model.onnx": model(b"new")}),
    "add_files": lambda bundle: add_files(
        bundle, {"model.onnx": model(b"new"), "model.fp16.onnx": model(b"half", precision="fp16")}
    ),
    "update_manifest": lambda bundle: update_manifest(bundle, name="new"),
}


@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_any_instant_leaves_the_old_or_the_new_bundle(
    tmp_path: Path, change: str, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:
        monkeypatch.setattr(files, "swap", lambda first, second: False)
    elif not swaps(tmp_path):
        pytest.skip("this system cannot exchange two folders")
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
    assert between_renames == (change != "update_manifest" and not in_one_step)


@pytest.mark.parametrize("change", CHANGES)
def test_an_error_while_writing_leaves_the_old_bundle_and_nothing_else(
    bundle: Bundle, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "flush", full)
        with pytest.raises(BundleError, match=r"bundle cannot be written: No space left .* as it was before"):
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
    # Whoever reads meanwhile always finds a whole bundle.
    opened = 0
    while any(process.is_alive() for process in processes):
        assert Bundle.open(bundle.path).classes == CLASSES
        opened += 1
    assert opened > 8
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
