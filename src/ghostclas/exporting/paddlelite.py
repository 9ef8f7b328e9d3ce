"""Paddle Lite, for phones and boards: ``paddlelite/model.arm.nb`` and the like, made from ``paddle_legacy``.

Its converter is in the package ``paddlelite`` for Python 3.7 to 3.9, so it runs in an interpreter of the
user's, which the variable ``GHOSTCLAS_PADDLELITE_PYTHON`` names. A file takes one photo as normalised float
planes, as those of PaddleClas do; ``inference.yml`` says how.

Only the version that wrote a file may read it: Paddle Lite warns about another one, and answers zeros. The
version is in the bundle's provenance. The file for x86 is run here and compared with the reference; one for
Arm would return what was in memory, so it is never run, and the provenance says so.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.bundle import Bundle
from ghostclas.engines.paddle_files import lite_version, with_clean_stamp
from ghostclas.errors import ExportError, MissingExtraError, UsageError
from ghostclas.exporting import paddle_legacy
from ghostclas.exporting.conversion import Conversion, Written
from ghostclas.imaging import softmax
from ghostclas.verification import logit_differences

PYTHON = "GHOSTCLAS_PADDLELITE_PYTHON"
TARGETS = ("arm", "x86")
TOLERANCE = 1e-4
FOLDER = "paddlelite"

CONVERT = """
import json, sys
from paddlelite.lite import Opt
program, parameters, targets = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
for target, prefix in targets.items():
    opt = Opt()
    opt.set_model_file(program)
    opt.set_param_file(parameters)
    opt.set_valid_places(target)
    opt.set_model_type("naive_buffer")
    opt.set_optimize_out(prefix)
    opt.run()
"""
"""Python 3.7, for the interpreter of the user's."""

VERSION = """
import glob, os, paddlelite
packages = os.path.dirname(os.path.dirname(paddlelite.__file__))
(found,) = glob.glob(os.path.join(packages, "paddlelite-*.dist-info"))
print(os.path.basename(found).split("-")[1])
"""
"""Its runtime does not tell it."""

RUN = """
import sys
import numpy as np
from paddlelite.lite import MobileConfig, create_paddle_predictor
config = MobileConfig()
config.set_model_from_file(sys.argv[1])
predictor = create_paddle_predictor(config)
answers = []
for planes in np.load(sys.argv[2]):
    predictor.get_input(0).from_numpy(np.ascontiguousarray(planes[None]))
    predictor.run()
    answers.append(np.array(predictor.get_output(0).numpy()))
np.save(sys.argv[3], np.concatenate(answers))
"""


def convert(job: Conversion) -> list[Written]:
    """Write the network for Paddle Lite."""
    targets = parse_targets(job.options.get("targets", "arm"))
    python = interpreter()
    job.step("reading the files for other targets")
    kept = _kept(job.bundle, targets, python)
    paddle_legacy.convert(job)
    source = job.folder / paddle_legacy.FOLDER
    job.step("converting with Paddle Lite's opt")
    folder = job.folder / FOLDER
    folder.mkdir()
    prefixes = {target: str(folder / f"model.{target}") for target in targets}
    names = [str(source / name) for name in ("inference.pdmodel", "inference.pdiparams")]
    run_python(python, CONVERT, *names, json.dumps(prefixes))
    facts: dict[str, Any] = kept
    for target in targets:
        file = folder / f"model.{target}.nb"
        if not file.is_file():
            raise ExportError(f"opt ended without writing a file for {target}")
        content = with_clean_stamp(file.read_bytes())
        file.write_bytes(content)
        facts[target] = f"{lite_version(content)}, " + (
            "run and right" if target == "x86" else "not run here"
        )
    if "x86" in targets:
        job.step("comparing the file for x86 with the reference")
        compare(job.bundle, folder / "model.x86.nb", python, scores=bool(job.options.get("softmax")))
    (source / "inference.yml").replace(folder / "inference.yml")
    paths = [*(f"{FOLDER}/model.{target}.nb" for target in targets), f"{FOLDER}/inference.yml"]
    return [Written(path=path, facts=facts if path == paths[0] else {}) for path in paths]


def parse_targets(text: str) -> list[str]:
    """Return the targets in a string with commas.

    Raises:
        UsageError: one of them does not exist.
    """
    targets = list(dict.fromkeys(word.strip() for word in text.split(",")))
    for target in targets:
        if target not in TARGETS:
            raise UsageError(f"Paddle Lite's targets are: {', '.join(TARGETS)}; not {target!r}")
    return targets


def interpreter() -> str:
    """Return the interpreter that has Paddle Lite.

    Raises:
        MissingExtraError: none is named, or it lacks the package.
    """
    python = os.environ.get(PYTHON)
    make = (
        "make one with: uv venv --python 3.7 lite && "
        "uv pip install --python lite/bin/python paddlelite==2.14rc0 'numpy<2'"
    )
    if not python:
        raise MissingExtraError(
            f"Paddle Lite's converter needs Python 3.7 to 3.9 of its own: name it by {PYTHON}; {make}"
        )
    try:
        run_python(python, "import paddlelite.lite, numpy")
    except ExportError as error:
        raise MissingExtraError(f"{PYTHON}={python} cannot import paddlelite ({error}); {make}") from None
    return python


def compare(bundle: Bundle, file: Path, python: str, *, scores: bool = False) -> None:
    """Run a file for x86 on the bundle's reference images, in the version that wrote it.

    Raises:
        ExportError: it answers differently.
    """
    reference = bundle.reference()
    planes, answer = file.with_suffix(".planes.npy"), file.with_suffix(".answer.npy")
    np.save(planes, paddle_legacy.normalised_planes(reference.pixels, bundle.preprocess))
    run_python(python, RUN, str(file), str(planes), str(answer))
    found = np.load(answer)
    wanted = softmax(reference.logits) if scores else reference.logits
    allowed = TOLERANCE * max(1.0, float(reference.logits.std()))
    difference = float(logit_differences(found, wanted).max()) if found.shape == wanted.shape else np.inf
    if not difference <= allowed:
        raise ExportError(
            f"the file for x86 answers differently, by up to {difference:.2g} ({allowed:.2g} allowed)"
        )


def check_files(bundle: Bundle) -> None:
    """Refuse files of the bundle that the Paddle Lite of the user's interpreter would only warn about.

    Nothing is compared where ``GHOSTCLAS_PADDLELITE_PYTHON`` names no interpreter.

    Raises:
        ExportError: a file is of another version, or no ``.nb``.
        MissingExtraError: the interpreter lacks Paddle Lite.
    """
    files = [entry for entry in bundle.manifest.files if entry.path.endswith(".nb")]
    if not files or not os.environ.get(PYTHON):
        return
    version = installed_version(interpreter())
    for entry in files:
        check_version(f"{bundle.path}: {entry.path}", bundle.read(entry.path), version)


def check_version(name: str, content: bytes, version: str) -> None:
    """Refuse a ``.nb`` of another version than ``version``, which Paddle Lite would only warn about.

    Args:
        name: how the message calls the file.
        content: the file.
        version: of the package or in a stamp: ``2.14rc0`` is ``v2.14-rc``.

    Raises:
        ExportError: it is of another version, or no ``.nb``.
    """
    try:
        found = lite_version(content)
    except ValueError as error:
        raise ExportError(f"{name} holds {error}; export it again") from None
    if _release(found) != _release(version):
        raise ExportError(
            f"{name} was written by Paddle Lite {found}, and only that version reads it; this is {version}: "
            "export it again with the version that runs it"
        )


def installed_version(python: str) -> str:
    """Return the version of the package ``paddlelite`` in an interpreter, such as ``2.14rc0``.

    Raises:
        ExportError: the package does not tell it.
    """
    return run_python(python, VERSION).strip()


def _release(version: str) -> tuple[str, ...]:
    """Return what two spellings of one version have in common: the numbers, and whether it is a candidate."""
    numbers = re.findall(r"\d+", re.split(r"rc|-", version)[0])
    while numbers and numbers[-1] == "0":
        del numbers[-1]
    return (*numbers, "rc" if "rc" in version else "")


def _kept(bundle: Bundle, targets: list[str], python: str) -> dict[str, Any]:
    """Return the facts of files for other targets, which stay in the bundle beside the new ones.

    Raises:
        ExportError: one of them is of another version, so that no Paddle Lite would read both.
    """
    recorded = bundle.manifest.provenance.get(FOLDER)
    kept = {}
    for target in TARGETS:
        path = f"{FOLDER}/model.{target}.nb"
        if target in targets or not any(entry.path == path for entry in bundle.manifest.files):
            continue
        content = bundle.read(path)
        check_version(f"{bundle.path}: {path}", content, installed_version(python))
        known = recorded.get(target) if isinstance(recorded, dict) else None
        kept[target] = known or f"{lite_version(content)}, not run here"
    return kept


def run_python(python: str, code: str, *arguments: str) -> str:
    """Run code of Python 3.7 in the user's interpreter, alone, and return what it printed.

    Raises:
        ExportError: it failed; the last line of what it said is told.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user named
            [python, "-c", code, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            check=False,
        )
    except OSError as error:
        raise ExportError(f"it cannot be started: {error.strerror}") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [
            f"exit status {done.returncode}"
        ]
        raise ExportError(said[-1].strip()[:200])
    return done.stdout
