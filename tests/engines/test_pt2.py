"""A program of torch.export that carries code is refused before anything of it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, FileContent, add_files, pack
from ghostclas.engines import open_engine
from ghostclas.errors import BundleError
from tests.exporting.added import present


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def altered(program: bytes, change: dict[str, bytes], *, also: dict[str, bytes] | None = None) -> bytes:
    """The archive with members replaced, by the ends of their names, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as source, zipfile.ZipFile(out, "w") as target:
        names = source.namelist()
        for name in names:
            kept = next((new for end, new in change.items() if name.endswith(end)), None)
            target.writestr(name, source.read(name) if kept is None else kept)
        for name, new in (also or {}).items():
            target.writestr(f"{names[0].partition('/')[0]}/{name}", new)
    return out.getvalue()


def member(program: bytes, end: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(end)))


@pytest.mark.parametrize(
    "way",
    [
        "weight",
        "sample inputs",
        "object",
        "expression",
        "operator",
        "operator as argument",
        "name",
        "tree",
        "second program",
        "compressed",
        "deep",
    ],
)
def test_a_program_that_carries_code_is_refused_and_runs_nothing(
    way: str, full_bundle: Bundle, tmp_path: Path
) -> None:
    present(full_bundle, "torch")
    marker = tmp_path / "it ran"
    honest = full_bundle.read("model.pt2")
    evil = pickle.dumps(Payload(marker))
    graph = member(honest, "models/model.json").decode()
    if way == "weight":
        config = json.loads(member(honest, "model_weights_config.json"))
        next(iter(config["config"].values()))["use_pickle"] = True
        bad = altered(honest, {"model_weights_config.json": json.dumps(config).encode(), "weight_0": evil})
    elif way == "sample inputs":
        bad = altered(honest, {"sample_inputs/model.pt": evil})
    elif way == "object":
        bad = altered(honest, {}, also={"data/constants/opaque_obj_0": evil})
    elif way == "expression":
        call = f"__import__('os').system('touch {marker}')"
        start = graph.index("Symbol('s")
        symbol = graph[start : graph.index(")", start) + 1]
        bad = altered(honest, {"models/model.json": graph.replace(symbol, call).encode()})
    elif way == "operator":
        # It would map a file of the attacker's choice.
        other = graph.replace("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default")
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "operator as argument":
        other = graph.replace('{"as_float"', '{"as_operator": "torch.os.abort", "as_float"', 1)
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "name":
        # Names become the source code of a function.
        other = graph.replace('"images"', json.dumps(f"images=__import__('os').system('touch {marker}')"))
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "tree":
        # Types in a tree specification are imported.
        other = graph.replace("builtins.tuple", "bundle.evil", 1)
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "second program":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as target, zipfile.ZipFile(io.BytesIO(honest)) as source:
            target.writestr("evil/models/model.json", graph)
            for name in source.namelist():
                target.writestr(name, source.read(name))
        bad = out.getvalue()
    elif way == "compressed":
        out = io.BytesIO()
        with (
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
            zipfile.ZipFile(io.BytesIO(honest)) as source,
        ):
            for name in source.namelist():
                target.writestr(name, source.read(name))
        bad = out.getvalue()
    else:
        bad = altered(honest, {"models/model.json": b"[" * 200_000})
    entry = full_bundle.file("torch").entry
    copied = Bundle.open(pack(full_bundle, tmp_path / "model.zip"))
    assert copied.read("model.pt2") == honest
    folder = tmp_path / "bundle"
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        archive.extractall(folder)
    lying = add_files(
        Bundle.open(folder), {"model.pt2": FileContent(bad, "torch", "fp32", entry.input, entry.output)}
    )
    with pytest.raises(BundleError, match=r"model\.pt2: (refused, because|it is not) .*; nothing was loaded"):
        open_engine("torch", lying)
    assert not marker.exists()
