"""The reader of Paddle's files: it needs no Paddle, and Paddle sees nothing that it refuses."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostclas.bundle import Bundle, FileContent, add_files
from ghostclas.engines import open_engine
from ghostclas.engines.paddle_files import (
    Parameter,
    Program,
    Variable,
    check_operators,
    check_parameters,
    lite_version,
    only_computes,
    read_parameters,
    read_program,
    with_clean_stamp,
)
from ghostclas.errors import BundleError
from tests.limited import run_python
from tests.paddle_made import PARAMETERS, field, nb, pdiparams, program_json, program_protobuf

KEPT = (Variable("bias", "float32", (2,)), Variable("weight", "float32", (3, 2)))


def test_both_forms_of_a_program_are_read() -> None:
    assert read_program(program_json()) == Program(
        (Variable("images", "uint8", (None, 32, 32, 3)),),
        (Variable("fetch_name_0", "float32", (None, 2)),),
        KEPT,
        frozenset({"data", "fetch"}),
    )
    assert read_program(program_protobuf()) == Program(
        (Variable("x", "float32", (None, 3, 32, 32)),),
        (Variable("y", "float32", (None, 2)),),
        KEPT,
        frozenset({"feed", "relu", "fetch"}),
    )


@pytest.mark.parametrize("program", [program_json(), program_protobuf()], ids=["json", "pdmodel"])
def test_parameters_are_compared_with_their_program(program: bytes) -> None:
    outside = read_program(program)
    assert read_parameters(pdiparams()) == [Parameter("float32", (2,)), Parameter("float32", (3, 2))]
    check_parameters(outside, read_parameters(pdiparams()))
    others: dict[str, tuple[bytes, str]] = {
        "none": (b"", "0 parameters where its program has 2"),
        "one is missing": (pdiparams({"bias": (2,)}), "1 parameters where its program has 2"),
        "another width": (pdiparams({"bias": (2,), "weight": (4, 2)}), r"float32 \[4, 2\] where .* weight"),
        "another type": (pdiparams(dtype="int64"), r"int64 \[2\] where its program has bias, float32"),
    }
    for content, said in others.values():
        with pytest.raises(ValueError, match=said):
            check_parameters(outside, read_parameters(content))


@pytest.mark.parametrize("cut", [1, 3, 19, 20, 24, 30, -1])
def test_parameters_that_break_off_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="a parameter"):
        read_parameters(pdiparams()[:cut])


@pytest.mark.parametrize(
    "content", [b"\1" * 40, b"PK\3\4" * 10, pdiparams()[4:]], ids=["ones", "zip", "shifted"]
)
def test_what_is_no_file_of_parameters_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"parameter"):
        read_parameters(content)


def _changed(change: Callable[[Any], None]) -> bytes:
    document = json.loads(program_json())
    change(document)
    return json.dumps(document).encode()


def _block(document: Any) -> Any:
    return document["program"]["regions"][0]["blocks"][0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "nothing"),
        (b"{", "no complete JSON"),
        (b"[" * 100_000, "no Paddle program"),
        (b'{"a":' * 100_000, "no complete JSON"),
        (b'{"base_code": {"magic": "onnx"}}', "JSON that is no Paddle program"),
        (b"{}", "JSON that is no Paddle program of one block"),
        (program_json()[:-20], "no complete JSON"),
        (_changed(lambda d: _block(d)["ops"].append({"#": 1})), "JSON that is no Paddle program"),
        (_changed(lambda d: d["program"]["regions"].append(1)), "of one block"),
        (
            _changed(lambda d: _block(d)["ops"].append({"#": "1.if", "regions": [1]})),
            "a block inside .* '1.if'",
        ),
        (b"\xff" * 100, "no Paddle program, or one that breaks off"),
        (b"hello, world", "no Paddle program, or one that breaks off"),
        (program_protobuf()[:-30], "no Paddle program, or one that breaks off"),
        (program_protobuf() + program_protobuf(), "2 blocks of operators instead of one"),
        (field(1, field(1, 0)), "no operators"),
        (program_protobuf().replace(b"\x12\x01y", b"\x12\x01z"), "no variable 'z'"),
    ],
)
def test_a_program_that_is_none_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_program(content)


@pytest.mark.parametrize(
    "name", ["save_combine", "load", "py_func", "while", "if", "print", "c_allreduce_sum", "run_program"]
)
def test_operators_with_effects_are_refused(name: str) -> None:
    for program in (program_json(operators=[{"#": f"1.{name}"}]), program_protobuf(operators=[name])):
        with pytest.raises(ValueError, match=f"the operator '{name}', which no export"):
            check_operators(read_program(program), only_computes)


@pytest.mark.parametrize("name", ["conv2d", "relu6", "hard_swish", "batch_norm_", "shadow_feed", "unfold"])
def test_operators_that_only_compute_are_taken(name: str) -> None:
    assert only_computes(name)


def test_large_and_deep_files_are_refused_at_once() -> None:
    code = """
from ghostclas.engines.paddle_files import read_parameters, read_program
from tests.paddle_made import field, pdiparams

for content in (b"{" + b" " * 70_000_000, field(1, field(3, b"") * 1_000_000), b'{"a":[' * 1_000_000):
    try:
        read_program(content)
    except ValueError as error:
        print(error)
try:
    read_parameters(pdiparams({str(i): () for i in range(20_001)}))
except ValueError as error:
    print(error)
"""
    done = run_python(code)
    assert len(done.stdout.splitlines()) == 4
    assert done.cpu_seconds < 10
    assert done.peak_bytes < 900e6


def test_damaged_files_are_a_value_error_and_nothing_else() -> None:
    rng = random.Random(0)
    seeds: list[tuple[Callable[[bytes], Any], bytes]] = [
        (read_program, program_json()),
        (read_program, program_protobuf()),
        (read_parameters, pdiparams()),
        (lite_version, nb(b"v2.14-rc\0")),
    ]
    refused = 0
    for _ in range(6000):
        read, content = rng.choice(seeds)
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(damaged))
            if rng.random() < 0.5:
                damaged[place] = rng.randrange(256)
            elif rng.random() < 0.5:
                del damaged[place : place + rng.randint(1, min(20, len(damaged) - 1))]
            else:
                damaged[place:place] = rng.randbytes(rng.randint(1, 8))
        try:
            read(bytes(damaged))
        except ValueError:
            refused += 1
    assert refused > 3000


def test_a_file_of_paddle_lite_says_which_version_wrote_it() -> None:
    content = nb(b"v2.14-rc\0")
    assert lite_version(content) == "v2.14-rc"
    cleaned = with_clean_stamp(content)
    assert cleaned[2:18] == b"v2.14-rc".ljust(16, b"\0")
    assert (cleaned[:2], cleaned[18:]) == (content[:2], content[18:])
    for other in (
        b"",
        b"\2\0",
        nb(b"\0"),
        b"PK" + nb(b"v2.12\0")[2:],
        nb(b"v2.\xff\0"),
        nb(b"v2\0")[:40],
    ):
        with pytest.raises(ValueError, match="no model of Paddle Lite"):
            lite_version(other)


def _content(bundle: Bundle, path: str, change: Callable[[bytes], bytes]) -> dict[str, FileContent]:
    (entry,) = [entry for entry in bundle.manifest.files if entry.path == path]
    return {path: FileContent(change(bundle.read(path)), "paddle", "fp32", entry.input, entry.output)}


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("paddle/inference.pdiparams", lambda content: content[:-8], "a parameter that breaks off"),
        ("paddle/inference.pdiparams", lambda content: b"", "0 parameters where its program has"),
        ("paddle/inference.json", lambda content: content[:1000], "no complete JSON"),
        ("paddle/inference.json", lambda content: content.replace(b'"1.relu"', b'"1.print"', 1), "'print'"),
        ("paddle/inference.json", lambda content: b"\x0a\xff" + content, "no Paddle program"),
        (
            "paddle/inference.json",
            lambda content: content.replace(b"[-1,64,64,3]", b"[-1,32,32,3]"),
            r"images uint8 \[None, 32, 32, 3\] where the manifest says",
        ),
    ],
    ids=["cut", "empty", "no JSON", "an effect", "no program", "another size"],
)
def test_paddle_never_sees_a_damaged_file(
    path: str, change: Callable[[bytes], bytes], said: str, full_bundle: Bundle, tmp_path: Path
) -> None:
    if "paddle" not in {entry.format for entry in full_bundle.manifest.files}:
        pytest.skip("Paddle is not here")
    bundle = Bundle.open(shutil.copytree(full_bundle.path, tmp_path / "b"))
    assert change(bundle.read(path)) != bundle.read(path)
    damaged = add_files(bundle, _content(bundle, path, change))
    with pytest.raises(BundleError, match=said):
        open_engine("paddle", damaged)


def test_paddle_parameters_are_in_the_order_of_the_reader(full_bundle: Bundle) -> None:
    present = {entry.path for entry in full_bundle.manifest.files}
    for folder, suffix in (("paddle", ".json"), ("paddle_legacy", ".pdmodel")):
        if f"{folder}/inference{suffix}" not in present:
            pytest.skip("Paddle is not here")
        program = read_program(full_bundle.read(f"{folder}/inference{suffix}"))
        parameters = read_parameters(full_bundle.read(f"{folder}/inference.pdiparams"))
        check_parameters(program, parameters)
        assert len({parameter.shape for parameter in parameters}) > 20


def test_the_shapes_of_the_hand_made_files() -> None:
    assert dict(PARAMETERS) == {variable.name: variable.shape for variable in KEPT}
