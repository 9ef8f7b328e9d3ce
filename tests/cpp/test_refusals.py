"""What Python's reader refuses, libghostclas refuses with the same sentence, whatever the bundle holds."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from ghostclas.bundle import Bundle, FileContent, add_files, default_bundle_path, pack
from ghostclas.bundle.manifest import serialise
from ghostclas.engines import open_engine
from ghostclas.engines.contract import read_onnx
from ghostclas.errors import BundleError
from tests.bundle.made import write
from tests.cpp.building import SOURCES
from tests.cpp.native import NativeClassifier, NativeError, refusal, refusal_in_python
from tests.engines.hostile_graphs import NO_PROTOBUF, REFUSED
from tests.engines.linear import SIDE, bundle_of, linear_model

_BUNDLES = ("tests/bundle/test_manifest.py", "tests/bundle/test_reader.py", "tests/bundle/test_store.py")
_SUITES: tuple[tuple[tuple[str, ...], str, int], ...] = (
    (_BUNDLES, "not little_time and not no_changed_byte and not importing_it_is_cheap", 75),
    (("tests/engines/test_onnx_graph.py",), "says_what_it_refused", 2),
    (
        ("tests/contract/test_engines.py",),
        "onnxruntime and (not_what_the_manifest or outside_the_bundle)",
        2,
    ),
)
"""Python's tests that open bad bundles: the files, which of their tests, and how many refusals they see."""
_FULL = SOURCES / "fuzz" / "corpus" / "manifest" / "full.json"
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 1.0, 2.5, 0.01, 8193, -0.0, 1e300, 2**53, 10**30, 32),
    *(
        "",
        "x",
        "fp32",
        "NHWC",
        "uint8",
        "RGB",
        "lanczos",
        "0" * 64,
        "\xe9\ud800",
        "a'b",
        "\u2028",
        "a\nb",
        " ",
    ),
    *([], {}, [1], [None], {"a": 1}, [1, 2, 3, 4], [36, 48]),
)
_KEYS = ("extra", "z\n", "features", "input", "top5", "arithmetic", "width", "library", "size", "a" * 100)
_FRAGMENTS = (
    *(b'"', b"\\", b",", b"{", b"[", b"]", b"}", b"0", b"-", b"e5", b".", b"null", b"\n", b"\t", b"NaN"),
    *(b"1E400", b"\\u12", b"\\ud800", b"\xff", b"\xe4\xbd"),
)


@pytest.mark.parametrize(("files", "chosen", "refused"), _SUITES, ids=["bundle", "engines", "contract"])
def test_every_bundle_of_the_suites_gets_the_same_answer(
    files: Sequence[str], chosen: str, refused: int, tmp_path: Path
) -> None:
    refusal(tmp_path)  # built before the clock of the other tests runs
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.cpp.shadow",
        "-p",
        "no:cacheprovider",
        *files,
    ]
    done = subprocess.run(
        [*command, "-k", chosen],
        env={**os.environ, "GHOSTCLAS_SHADOW": str(report)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    seen = json.loads(report.read_text(encoding="utf-8"))
    assert seen["differences"] == []
    assert seen["refused"] >= refused


def paths_in(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from paths_in(item, (*path, key))


def change(fields: dict[str, Any], rng: random.Random) -> None:
    """Replace, remove or add a value somewhere."""
    *above, last = rng.choice(list(paths_in(fields)))
    holder: Any = fields
    for key in above:
        holder = holder[key]
    match rng.randrange(4):
        case 0 | 1:
            holder[last] = rng.choice(_VALUES)
        case 2:
            del holder[last]
        case _ if isinstance(holder, dict):
            holder[rng.choice(_KEYS)] = rng.choice(_VALUES)
        case _:
            holder.append(rng.choice(_VALUES))


def test_manifests_with_wrong_values(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    file = bundle.path / "manifest.json"
    # Alternately of a small bundle and of all that a manifest may hold.
    contents = (file.read_text(encoding="utf-8"), _FULL.read_text(encoding="utf-8"))
    rng = random.Random(0)
    for number in range(1200):
        fields = json.loads(contents[number % 2])
        del fields["digest"]
        if number % 4 == 0:
            fields["preprocess"]["resize"] |= {
                "library": rng.choice(("opencv", "pillow")),
                "antialias": rng.choice((True, False)),
                "size": rng.choice(([36, 40], [40, 36], [36], [36, 36, 36], [36, 0], [40, 40], None)),
            }
        for _ in range(rng.choice((1, 1, 2, 3))):
            change(fields, rng)
        text = json.dumps({"digest": "0" * 64} | fields)
        file.write_text(
            text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1), encoding="utf-8"
        )
        assert refusal(bundle.path) == refusal_in_python(bundle.path), f"manifest {number}"


def test_every_character_of_a_name_is_told_as_python_tells_it(tmp_path: Path) -> None:
    """What Unicode has assigned, as far as this Python knows; some of the ideographs and of private use."""
    bundle = write(tmp_path / "bundle")
    file = bundle.path / "manifest.json"
    fields = json.loads(file.read_bytes())
    many = (
        *range(0x3400, 0xD7A4),
        *range(0xE000, 0xF900),
        *range(0x17000, 0x18D00),
        *range(0x20000, 0x110000),
    )
    places = sorted({*range(1, 0x20000), *range(0xE0000, 0xE0200)} - {*many} | {*many[::97]})
    assigned = [chr(place) for place in places if unicodedata.category(chr(place)) not in ("Cn", "Cs")]
    # A sentence has up to 400 characters, and an escaped character ten.
    for at in range(0, len(assigned), 30):
        fields["files"][0]["path"] = "../" + "".join(assigned[at : at + 30])
        file.write_text(json.dumps(fields), encoding="utf-8")
        told = refusal(bundle.path)
        assert told == refusal_in_python(bundle.path), f"from {assigned[at]!a}"
        assert "is no plain relative path" in (told or "")


def test_manifests_with_damaged_bytes(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    file = bundle.path / "manifest.json"
    content, rng = file.read_bytes(), random.Random(0)
    for number in range(600):
        file.write_bytes(damaged(content, rng))
        assert refusal(bundle.path) == refusal_in_python(bundle.path), f"manifest {number}"


def damaged(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    at = rng.randrange(len(changed))
    match rng.randrange(4):
        case 0:
            changed[at] ^= 1 << rng.randrange(8)
        case 1:
            del changed[at : at + rng.randrange(1, 6)]
        case 2:
            changed[at:at] = rng.choice(_FRAGMENTS)
        case _:
            del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_archives(compression: int, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in bundle.path.iterdir():
            archive.write(file, f"top/{file.name}")
    assert refusal(path) is None
    whole, rng = path.read_bytes(), random.Random(compression)
    for number in range(600):
        changed = bytearray(whole)
        # Half of the damage is in the list of members, at the end.
        at = rng.choice((rng.randrange(len(whole)), rng.randrange(len(whole) - 420, len(whole))))
        match rng.randrange(3):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.randrange(256)
            case _:
                del changed[at : at + rng.randrange(1, 8)]
        path.write_bytes(changed)
        assert refusal(path) == refusal_in_python(path), f"archive {number}"


def test_the_digest_of_many_manifests(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    file = bundle.path / "manifest.json"
    rng = random.Random(0)
    for _ in range(int(os.environ.get("GHOSTCLAS_MANIFESTS", "400"))):
        remembered = {
            "".join(chr(rng.choice((34, 92, 97, 233, 0x1F600))) for _ in range(5)): some(rng)
            for _ in range(4)
        }
        manifest = bundle.manifest.model_copy(update={"provenance": remembered})
        content = serialise(manifest)
        file.write_bytes(content)
        assert refusal(bundle.path) is None, content
        # Version 1 hashed what Python prints.
        fields = json.loads(content)
        del fields["digest"]
        fields["schema_version"] = 1
        printed = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        fields["digest"] = hashlib.sha256(printed.encode()).hexdigest()
        file.write_text(json.dumps(fields), encoding="utf-8")
        assert refusal(bundle.path) is None, printed


def some(rng: random.Random) -> Any:
    return rng.choice(
        (
            rng.random() * 10.0 ** rng.randrange(-320, 308),
            float(rng.randrange(-(10**6), 10**6)),
            rng.randrange(-(10**25), 10**25),
            "\x7f\x1f\u2028\U0001f600",
            [None, True, {"b": 1e22, "a": 1e-5}],
        )
    )


@pytest.mark.parametrize("content", [b"", b"garbage " * 50, "truncated"])
def test_a_model_that_is_none_is_refused_in_the_words_of_the_runtime(
    content: bytes | str, tmp_path: Path
) -> None:
    whole = (default_bundle_path() / "model.onnx").read_bytes()
    bundle = bundle_of(whole[: len(whole) // 2] if isinstance(content, str) else content, tmp_path / "b")
    with pytest.raises(BundleError) as python:
        open_engine("onnxruntime", bundle)
    with pytest.raises(NativeError) as native:
        NativeClassifier(bundle.path, threads=1)
    assert str(native.value) == str(python.value)
    assert native.value.status == BundleError.exit_code


def assert_same_refusal_of_graph(content: bytes, path: Path) -> bool:
    """Compare what is said of an ONNX file before a runtime sees it; return whether it is refused."""
    bundle = bundle_of(content, path)
    try:
        read_onnx(bundle.file())
    except BundleError as error:
        expected = str(error)
    else:
        return False
    with pytest.raises(NativeError) as native:
        NativeClassifier(bundle.path)
    assert str(native.value) == expected
    return True


@pytest.mark.parametrize("kind", REFUSED)
def test_a_graph_that_no_export_needs_is_refused_before_it_is_loaded(kind: str, tmp_path: Path) -> None:
    model = linear_model()
    REFUSED[kind][0](model)
    assert assert_same_refusal_of_graph(model.SerializeToString(), tmp_path / "b")


def test_a_damaged_graph_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    for number, content in enumerate(NO_PROTOBUF):
        assert assert_same_refusal_of_graph(content, tmp_path / f"{number}")
    model = linear_model()
    REFUSED["custom operator"][0](model)
    whole, rng = model.SerializeToString(), random.Random(0)
    refused = 0
    for number in range(60):
        refused += assert_same_refusal_of_graph(damaged(whole, rng), tmp_path / f"damaged {number}")
    assert refused > 45


def oversize(kind: str) -> bytes:
    """Return a model that asks for more memory than there is."""
    if kind == "input":
        return linear_model(size=2**31 - 1).SerializeToString()
    model = linear_model()
    shape = numpy_helper.from_array(np.array([2**25, 2**25]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node[-1].output[0] = "small"
    model.graph.node.extend(
        (
            helper.make_node("ConstantOfShape", ["shape"], ["many"]),
            helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0),
            helper.make_node("Add", ["small", "sum"], ["logits"]),
        )
    )
    return model.SerializeToString()


@pytest.mark.parametrize("kind", ["input", "inside"])
def test_a_model_of_sizes_that_do_not_exist_is_refused(kind: str, tmp_path: Path) -> None:
    bundle = bundle_of(oversize(kind), tmp_path / "b")
    with pytest.raises(BundleError) as python:
        open_engine("onnxruntime", bundle)
    # Python's trial runs two photos; here the first photos meet what loading does not.
    with pytest.raises(NativeError) as native:
        NativeClassifier(bundle.path, threads=1).logits(np.zeros((2, SIDE, SIDE, 3), np.uint8))
    assert str(native.value) == str(python.value)
    assert native.value.status == BundleError.exit_code


def test_a_bundle_in_a_zip_with_other_files_beside_it_is_read(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    add_files(bundle, {"sub/deeper/other.bin": FileContent(b"x" * 1000, "other")})
    path = pack(Bundle.open(bundle.path), tmp_path / "bundle.zip")
    assert refusal(path) is None
    assert refusal(bundle.path) is None
