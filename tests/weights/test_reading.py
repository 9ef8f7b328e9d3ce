"""Files of weights in any layout are read by our names; what is no such file is refused by name."""

from __future__ import annotations

import os
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ghostclas.errors import BundleError
from ghostclas.models import create_model
from ghostclas.spec import ModelSpec
from ghostclas.weights.reading import read_weights
from tests.limited import run_python
from tests.weights.files import saved


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return create_model(ModelSpec(name="small", width=0.1, num_classes=5)).state_dict()


def test_a_checkpoint_gives_its_averaged_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    averaged = {name: value + 2 for name, value in state.items()}
    checkpoint = {"schema": 1, "model": state, "ema": averaged, "optimizer": {"state": {}}, "epoch": 4}
    loaded = read_weights(saved(checkpoint, tmp_path / "last.pt"))
    assert all(torch.equal(loaded[name], averaged[name]) for name in averaged)


def test_half_precision_becomes_float32(state: dict[str, Tensor], tmp_path: Path) -> None:
    half = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    loaded = read_weights(saved(half, tmp_path / "half.safetensors"))
    assert {value.dtype for name, value in loaded.items() if "num_batches" not in name} == {torch.float32}
    assert torch.equal(loaded["stem.conv.weight"], half["stem.conv.weight"].float())


def test_integers_are_not_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    state["stem.conv.weight"] = state["stem.conv.weight"].to(torch.int8)
    with pytest.raises(
        BundleError, match=r"stem\.conv\.weight holds torch\.int8, not floating-point weights"
    ):
        read_weights(saved(state, tmp_path / "weights.safetensors"))


def test_one_tensor_under_two_names_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    weight = state["stem.conv.weight"]
    twice = {"conv1._conv.weight": weight, "stem._conv.weight": weight.clone()}
    with pytest.raises(
        BundleError, match=r"holds stem\.conv\.weight twice, the second time as stem\._conv\.weight"
    ):
        read_weights(saved(twice, tmp_path / "twice.safetensors"))


class _Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["evil.pth", "evil.pt", "evil.pdparams", "evil.bin", "evil.pth.tar"])
@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
def test_a_file_that_carries_a_command_is_refused_by_name(
    name: str, new_format: bool, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    content = {"stem.conv.weight": torch.zeros(1), "hook": _Command(marker)}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=new_format)
    with pytest.raises(BundleError) as error:
        read_weights(tmp_path / name)
    assert name in str(error.value)
    if not name.endswith(".pdparams"):
        assert f"refused to construct {os.name}.system; nothing was run" in str(error.value)
    assert not marker.exists()


def _wrong_types(tmp_path: Path, state: dict[str, Tensor]) -> dict[str, Path]:
    safetensors = saved(state, tmp_path / "good.safetensors").read_bytes()
    torch_file = saved(state, tmp_path / "good.pth").read_bytes()
    contents = {
        "safetensors_named.pth": safetensors,
        "torch_named.safetensors": torch_file,
        "torch_named.pdparams": torch_file,
        "cut.safetensors": safetensors[:-100],
        "cut_header.safetensors": safetensors[:40],
        "cut.pth": torch_file[: len(torch_file) // 2],
        "empty.pth": b"",
        "empty.safetensors": b"",
        "text.pth": b"<html>404 not found</html>",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


def test_a_file_of_another_type_or_cut_short_is_refused_with_its_name(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    for name, file in _wrong_types(tmp_path, state).items():
        with pytest.raises(BundleError, match=rf"{name}: not a complete "):
            read_weights(file)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"fc.weight": torch.zeros(2, 2)}, r"not the weights of a GhostNet \(found fc\.weight, \.\.\.\)"),
        ({}, r"not the weights of a GhostNet \(found nothing, \.\.\.\)"),
        (torch.zeros(3), "holds no state dict"),
        ([torch.zeros(3)], "holds no state dict"),
        ({"stem.conv.weight": torch.zeros(1), "epoch": 3}, r"holds no state dict\n +not tensors: epoch$"),
        ({3: torch.zeros(1)}, "holds no state dict"),
    ],
)
def test_tensors_of_something_else_are_refused(content: Any, complaint: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(BundleError, match=complaint):
        read_weights(tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["model.onnx", "model.pdmodel", "weights", "notes.txt"])
def test_an_unknown_type_of_file_says_which_are_known(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=r"this type of file; known are \.pdparams, \.pth.*\.safetensors$"):
        read_weights(tmp_path / name)


HOSTILE = """
import io, pickle, sys, zipfile
from pathlib import Path
import torch
from ghostclas.errors import BundleError
from ghostclas.weights.reading import read_weights
folder = Path(sys.argv[1])
one = torch.ones(1)
torch.save({"stem.conv.weight": one.expand(1 << 32)}, folder / "stride-0.pth")
torch.save({"stem.conv.weight": one.to_sparse()}, folder / "sparse.pth")
torch.save({"stem.conv.weight": torch.ones(4, device="meta")}, folder / "meta.pth")
torch.save({"n" * 10**6: 1}, folder / "name.pth")
torch.save({"stem.conv.weight": torch.zeros(1 << 24)}, folder / "packed.pth")
with zipfile.ZipFile(folder / "packed.pth") as stored:
    members = {name: stored.read(name) for name in stored.namelist()}
with zipfile.ZipFile(folder / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed:
    for name, content in members.items():
        packed.writestr(name, content)
(folder / "deep.pdparams").write_bytes(b"\\x80\\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
(folder / "deep.pth").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C) * 3)
for length in (1 << 40, 100_000):
    (folder / f"{length}.safetensors").write_bytes(length.to_bytes(8, "little") + b"[" * 100_000)
(folder / f"{'n' * 250}.pth").touch()
for file in [*sorted(folder.iterdir()), folder / f"{'n' * 300}.pth"]:
    try:
        read_weights(file)
        print("read", file.name)
    except BundleError as error:
        text = str(error).removeprefix(f"{file}: ")
        print(file.name[:20], len(text) < 500 and len(text.splitlines()) < 3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_files_that_ask_for_memory_or_depth_end_in_a_line(tmp_path: Path) -> None:
    outcome = run_python(HOSTILE, tmp_path)
    assert len(outcome.stdout.splitlines()) == 11, outcome
    assert all(line.endswith(" True") for line in outcome.stdout.splitlines()), outcome
    assert outcome.cpu_seconds < 30
    assert outcome.peak_bytes < 900e6


@pytest.mark.parametrize("archive", [True, False])
def test_a_name_that_torch_would_search_for_minutes_is_refused(tmp_path: Path, archive: bool) -> None:
    file = tmp_path / "long.pth"
    torch.save({"x" * 70_000: torch.zeros(1)}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(BundleError, match=r"a name of more than 4,000 characters"):
        read_weights(file)


def test_a_length_in_an_old_file_reserves_no_more_than_the_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "old.pth"
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    file.write_bytes(b"".join(head) + b"\x80\x02X\xf0\xff\xff\xffname")
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="not a complete file of weights"):
            read_weights(file)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_long_name_that_is_refused_is_cut_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "long.pth"
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    file.write_bytes(b"".join(head) + b"\x80\x02cos\n" + b"n" * 3900 + b"\n.")
    with pytest.raises(BundleError, match=r"refused to construct os\.nnn.*nothing was run$") as caught:
        read_weights(file)
    assert len(str(caught.value)) < 500
