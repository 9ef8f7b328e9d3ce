"""``ghostclas-infer`` looks for a runtime and a model beside itself, and never in the current folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ghostclas.bundle import default_bundle_path
from tests import images
from tests.cpp.building import built
from tests.cpp.native import runtime_folder

PLANTED = '#include <stdio.h>\n__attribute__((constructor)) static void ran(void) { puts("PLANTED"); }\n'


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of a stranger: a file of the program's name, and what the program loads."""
    folder = tmp_path / "foreign" / "bin"
    folder.mkdir(parents=True)
    (folder / "ghostclas-infer").touch()
    (folder / "planted.c").write_text(PLANTED, encoding="utf-8")
    library = folder / "libonnxruntime.so"
    subprocess.run(["g++", "-x", "c", "-shared", "-fPIC", "-o", library, folder / "planted.c"], check=True)
    (folder / "ghostclas").mkdir()
    beside = folder.parent / "lib" / "ghostclas"
    beside.mkdir(parents=True)
    for place in (folder / "ghostclas", beside):
        shutil.copy(library, place)
    (folder / "p.png").write_bytes(images.encode(images.photo(80, 60), "PNG"))
    return folder


def by_name(program: Path, folder: Path, *, share: bool) -> subprocess.CompletedProcess[str]:
    """Run the program in ``folder``, found by PATH alone."""
    environment = {
        "PATH": str(program.parent),
        "GHOSTCLAS_DEFAULT_MODEL": "" if share else str(default_bundle_path()),
    }
    command = [program.name, "p.png"]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_library_in_the_current_folder_is_not_loaded(foreign: Path, tmp_path: Path) -> None:
    program = tmp_path / "own" / "bin" / "ghostclas-infer"
    program.parent.mkdir(parents=True)
    shutil.copy(built("ghostclas-infer") / "bin" / "ghostclas-infer", program)
    alone = by_name(program, foreign, share=False)
    assert "PLANTED" not in alone.stdout
    if alone.returncode == 5:
        assert "ONNX Runtime was not found: looked for " in alone.stderr
        assert "get it with: cpp/get-runtime FOLDER" in alone.stderr
    else:
        # The system has a runtime of its own.
        assert alone.returncode == 0, alone.stderr


def test_an_installation_is_found_from_every_folder(foreign: Path, tmp_path: Path) -> None:
    root = tmp_path / "own"
    (root / "bin").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "share" / "ghostclas").mkdir(parents=True)
    shutil.copy(built("ghostclas-infer") / "bin" / "ghostclas-infer", root / "bin")
    (root / "lib" / "ghostclas").symlink_to(runtime_folder())
    model = default_bundle_path()
    (root / "share" / "ghostclas" / model.name).symlink_to(model)
    done = by_name(root / "bin" / "ghostclas-infer", foreign, share=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('{"file":"p.png","top":[{"index":')
