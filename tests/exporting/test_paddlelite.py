"""Paddle Lite's files: made by an interpreter of the user's, run for x86, never for Arm."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ghostclas import verify
from ghostclas.bundle import Bundle, FileContent, add_files
from ghostclas.cli import main
from ghostclas.engines.paddle_files import lite_version
from ghostclas.engines.table import is_installed
from ghostclas.errors import BundleError, ExportError, MissingExtraError, UsageError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.paddle_legacy import normalised_planes
from ghostclas.exporting.paddlelite import (
    PYTHON,
    RUN,
    check_version,
    installed_version,
    interpreter,
    parse_targets,
    run_python,
)
from tests.exporting.added import content
from tests.paddle_made import nb

needs_lite = pytest.mark.skipif(
    not os.environ.get(PYTHON) or not is_installed("paddle"),
    reason=f"{PYTHON} names no Python with Paddle Lite",
)


@needs_lite
def test_the_file_for_x86_answers_as_the_network(tiny_bundle: Bundle, tmp_path: Path) -> None:
    before = content(tiny_bundle)
    command = ["export", "--model", str(tiny_bundle.path), "--format", "paddlelite", "--targets", "arm,x86"]
    assert main(command) == 0
    bundle = Bundle.open(tiny_bundle.path)
    bundle.check()
    assert content(bundle).keys() - before.keys() == {"model.arm.nb", "model.x86.nb", "inference.yml"}
    files = {target: bundle.path / "paddlelite" / f"model.{target}.nb" for target in ("arm", "x86")}
    version = lite_version(files["x86"].read_bytes())
    assert bundle.manifest.provenance["paddlelite"] == {
        "arm": f"{version}, not run here",
        "x86": f"{version}, run and right",
    }
    for file in files.values():
        assert file.read_bytes()[2:18] == version.encode().ljust(16, b"\0")
        check_version(file.name, file.read_bytes(), installed_version(os.environ[PYTHON]))
        with pytest.raises(ExportError, match=rf"written by Paddle Lite {version}, .* this is v2\.12"):
            check_version(file.name, file.read_bytes(), "v2.12")
    verify(bundle, engines=["onnxruntime"])
    reference = bundle.reference()
    np.save(tmp_path / "planes.npy", normalised_planes(reference.pixels, bundle.preprocess))
    paths = [str(path) for path in (files["x86"], tmp_path / "planes.npy", tmp_path / "answer.npy")]
    run_python(os.environ[PYTHON], RUN, *paths)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), reference.logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("python", [None, "no/such/python", sys.executable])
def test_an_interpreter_without_paddle_lite_is_told_with_what_makes_one(
    python: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    if python is not None:
        monkeypatch.setenv(PYTHON, python)
    with pytest.raises(MissingExtraError, match=rf"(?s){PYTHON}.*uv venv --python 3\.7 lite"):
        interpreter()


def test_no_interpreter_leaves_nothing_behind(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    before = content(tiny_bundle)
    with pytest.raises(MissingExtraError, match=PYTHON):
        add_format(tiny_bundle, "paddlelite")
    assert content(Bundle.open(tiny_bundle.path)) == before


def test_targets_are_named_or_refused() -> None:
    assert parse_targets("x86, arm,x86") == ["x86", "arm"]
    with pytest.raises(UsageError, match="targets are: arm, x86; not 'opencl'"):
        parse_targets("arm,opencl")


@pytest.mark.parametrize("damaged", [b"", b"PK\3\4" * 30])
def test_what_is_no_file_of_paddle_lite_is_refused(damaged: bytes) -> None:
    with pytest.raises(ExportError, match=r"model\.nb holds no model of Paddle Lite; export it again"):
        check_version("model.nb", damaged, "v2.14-rc")


@pytest.mark.parametrize(
    ("stamp", "version", "reads"),
    [
        (b"v2.14-rc\0", "2.14rc0", True),
        (b"v2.14-rc\0", "2.14", False),
        (b"v2.12\0", "2.12", True),
        (b"v2.12\0", "2.12.0", True),
        (b"v2.12\0", "2.13rc0", False),
        (b"v2.10\0", "2.1", False),
    ],
)
def test_only_the_version_that_wrote_a_file_reads_it(stamp: bytes, version: str, reads: bool) -> None:
    if reads:
        check_version("model.nb", nb(stamp), version)
    else:
        with pytest.raises(ExportError, match=f"only that version reads it; this is {version}"):
            check_version("model.nb", nb(stamp), version)


def with_old_file(bundle: Bundle, *, said: str = "v2.12") -> Bundle:
    """The bundle with a file for x86 that Paddle Lite 2.12 wrote."""
    files = {"paddlelite/model.x86.nb": FileContent(nb(b"v2.12\0"), "paddlelite", "fp32")}
    return add_files(bundle, files, provenance={"paddlelite": {"x86": f"{said}, run and right"}})


def test_verify_and_info_name_the_version_that_wrote_a_file(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    bundle = with_old_file(tiny_bundle)
    report = verify(bundle, engines=["onnxruntime"])
    assert report.skipped == (
        "paddlelite/model.x86.nb: Paddle Lite v2.12 wrote it, and only that version reads it",
    )
    assert main(["info", str(bundle.path)]) == 0
    assert "x86 v2.12, run and right" in capsys.readouterr().out
    other = with_old_file(bundle, said="v2.14-rc")
    with pytest.raises(BundleError, match=r"written by Paddle Lite v2\.12, and the manifest says v2\.14-rc"):
        verify(other, engines=["onnxruntime"])


@needs_lite
def test_a_file_of_another_version_is_refused_where_it_is_met(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = with_old_file(tiny_bundle)
    before = content(bundle)
    here = installed_version(os.environ[PYTHON])
    said = (
        f"was written by Paddle Lite v2.12, and only that version reads it; this is {here}: export it again"
    )
    assert main(["verify", str(bundle.path)]) == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {bundle.path}: paddlelite/model.x86.nb {said}")
    command = ["export", "--model", str(bundle.path), "--format", "paddlelite", "--targets", "arm"]
    assert main(command) == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert content(Bundle.open(bundle.path)) == before
