"""A manifest that was changed, or that contradicts itself, is refused."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostclas.bundle import Bundle, update_manifest
from ghostclas.bundle.manifest import FileParity, serialise
from ghostclas.errors import BundleError
from tests.bundle.made import assert_one_sentence, write
from tests.limited import run_python


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
        (lambda m: m.update(schema_version=True), "schema_version: Input should be 2"),
        (lambda m: m.update(schema_version="2"), "schema_version: Input should be 2"),
        (lambda m: m["files"][0].update(bytes="800"), "files.0.bytes: Input should be a valid integer"),
        (lambda m: m["preprocess"].update(exif=1), "preprocess.exif: Input should be a valid boolean"),
        (lambda m: m["classes"].__setitem__(1, m["classes"][0]), "several of its classes are called 'tabby"),
        (lambda m: m["classes"].__setitem__(1, " "), "one of its classes has no name"),
        (
            lambda m: m.update(postprocess={"temperature": 1e-300}),
            "temperature: .* greater than or equal to 0.01",
        ),
        (lambda m: m["files"][0].update(path="a/" * 20_000 + "b"), "40,001 characters in 20,001 levels"),
        (lambda m: m["files"][0].update(path="a/" * 40 + "b"), "in 41 levels"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"seed": 1e999', "1e999 is too large for a number"),
        ('"seed": NaN', "NaN is no number"),
        ('"seed": -Infinity', "-Infinity is no number"),
        ('"seed": 1, "seed": 2', "the key 'seed' occurs twice"),
        (f'"seed": {"9" * 5000}', "is not valid JSON"),
        (f'"seed": {"[" * 100_000}{"]" * 100_000}', "is not valid JSON"),
        (f'"seed": {"[" * 500}{"]" * 500}', "recursion limit"),
    ],
)
def test_json_that_readers_would_take_differently_is_refused(bundle: Bundle, text: str, message: str) -> None:
    file = bundle.path / "manifest.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"seed": 1', text), encoding="utf-8")
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(bundle.path)
    assert_one_sentence(caught.value, bundle.path)


def test_a_manifest_of_any_content_takes_little_time_and_memory(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError

def repeated(head, item, tail):
    return head + ",".join([item] * ((4 * 2**20 - len(head + tail)) // (len(item) + 1))) + tail

for text in (
    repeated('{"files":[', "{}", "]}"),
    repeated('{"files":[{"input":{"shape":[', '"a"', "]}}]}"),
    repeated('{"parity":[', "{}", "]}"),
    repeated('{"classes":[', "1", "]}"),
    repeated('{"classes":[', '"a"', "]}"),
    repeated('{"provenance":{"a":[', "[]", "]}}"),
    "{" + ",".join(f'"{i}":1' for i in range(380_000)) + "}",
    " " * 50_000_000,
):
    Path(sys.argv[1], "manifest.json").write_text(text, encoding="utf-8")
    try:
        Bundle.open(sys.argv[1])
    except BundleError as error:
        print(error)
"""
    done = run_python(code, tmp_path)
    lines = re.sub(r"has [\d,]+ entries", "has N entries", done.stdout).splitlines()
    assert [line.removeprefix(f"{tmp_path}: manifest.json ") for line in lines] == [
        "does not verify: files has N entries; at most 1,000 are allowed",
        "does not verify: it has more than 50,000 values",
        "does not verify: it has more than 50,000 values",
        "does not verify: classes has N entries; at most 100,000 are allowed",
        "does not verify: classes has N entries; at most 100,000 are allowed",
        "does not verify: provenance has more than 100,000 values",
        "does not verify: it has more than 50,000 values",
        "has 50,000,000 bytes; no manifest is that long",
    ]
    assert done.cpu_seconds < 20
    assert done.peak_bytes < 500e6


def test_a_manifest_that_no_reader_would_take_is_not_written(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="provenance has more than 100,000 values"):
        update_manifest(bundle, provenance={"many": [0] * 100_001})
    assert Bundle.open(bundle.path).manifest == bundle.manifest


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


def test_a_check_in_another_precision_than_the_file_s_says_so() -> None:
    parity = FileParity(
        file="model.onnx",
        engine="openvino",
        images=4,
        max_abs=0.003,
        mean_abs=0.001,
        top1_agreement=1.0,
        tolerance=0.5,
        ok=True,
    )
    assert parity.through == "openvino"
    assert parity.model_copy(update={"arithmetic": "bf16"}).through == "openvino in bf16"
