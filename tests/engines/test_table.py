"""The table of runtimes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ghostclas.bundle import Bundle
from ghostclas.engines import ENGINES, open_engine
from ghostclas.errors import MissingExtraError, UsageError

"""ONNX Runtime, as if it could not share a process with torch: a row that only these tests have."""


def test_an_unknown_engine_is_told_with_the_nearest_name(small_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="no engine 'onnxruntim'; did you mean 'onnxruntime'"):
        open_engine("onnxruntim", small_bundle)
    with pytest.raises(UsageError, match="no engine 'xyz'; there are: auto, onnxruntime, openvino"):
        open_engine("xyz", small_bundle)


@pytest.mark.parametrize("name", [n for n in ENGINES if n != "onnxruntime"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    name: str, full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = full_bundle.file().entry
    wanted = ENGINES[name].formats[0]
    # Whether there is such a file here does not matter: it is never opened.
    named = full_bundle.manifest.model_copy(update={"files": (entry.model_copy(update={"format": wanted}),)})
    bundle = Bundle(full_bundle.path, full_bundle._store, named)
    package = ENGINES[name].package
    for module in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'ghostclas\[{ENGINES[name].extra}\]'"):
        open_engine(name, bundle)


def test_asking_which_are_installed_imports_none() -> None:
    code = (
        "import sys; from ghostclas.engines import installed_engines; names = installed_engines(); "
        "print([n for n in (*names, 'torch', 'onnx') if n in sys.modules], 'onnxruntime' in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
