"""The Windows build, cross-compiled and run by wine, passes its own tests and prints the Linux answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ghostclas.bundle import default_bundle_path
from tests import images
from tests.cpp.building import BUILD, SOURCES, built, pass_on_another_system, run
from tests.cpp.native import runtime_folder

FOLDER = SOURCES / "build" / "windows-tests"
LIBRARIES = SOURCES / "build" / "windows"
NEEDED = (
    *("lib/libjpeg.a", "lib/libwebpdemux.a", "runtime/onnxruntime.dll"),
    *("include/doctest/doctest.h", "include/nlohmann/json.hpp"),
)
WINE = shutil.which("wine64") or shutil.which("wine") or shutil.which("wine64", path="/usr/lib/wine")


KEPT = {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL"}
"""Of the environment. Other tests of the same process may have left more, which is nothing to wine."""
ATTEMPTS = 3


def make_prefix(wine: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let wine make its Windows system in ``folder``, or skip the test with wine's reason."""
    monkeypatch.setenv("WINEPREFIX", str(folder))
    monkeypatch.setenv("WINEDEBUG", "-all")
    for _ in range(ATTEMPTS):
        made = run(wine, "wineboot", "--init")
        if (folder / "drive_c" / "windows" / "system32" / "kernel32.dll").is_file():
            return
        shutil.rmtree(folder, ignore_errors=True)
    pytest.skip(f"wine makes no Windows system here: {made.stderr.strip().splitlines()[-1:]}")


def in_folder(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_windows_build_prints_the_lines_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if WINE is None or shutil.which("x86_64-w64-mingw32-g++-posix") is None:
        pytest.skip("wine64 or g++-mingw-w64-x86-64-posix is not installed")
    missing = [path for path in NEEDED if not (LIBRARIES / path).is_file()]
    if missing:
        pytest.skip(f"no {' or '.join(missing)} in {LIBRARIES}: cpp/cmake/windows-libraries makes it")
    for name in os.environ.keys() - KEPT:
        monkeypatch.delenv(name)
    make_prefix(WINE, tmp_path / "wine", monkeypatch)
    targets = ["ghostclas-infer", "ghostclas_engine_test", "ghostclas_pixels_test"]
    pass_on_another_system(FOLDER, targets, "--preset", "mingw", f"-DCMAKE_PREFIX_PATH={LIBRARIES}")

    photos = []
    for seed, kind in enumerate(("JPEG", "PNG", "WebP", "GIF", "BMP")):
        path = tmp_path / f"\u00e9 {seed}.{kind.lower()}"
        path.write_bytes(images.encode(images.photo(300, 200, seed), kind))
        photos.append(str(path))
    arguments = ["--model", str(default_bundle_path()), *photos]
    program = FOLDER / "bin" / "ghostclas-infer.exe"
    windows = run(WINE, str(program), "--runtime", str(LIBRARIES / "runtime"), *arguments)
    built("ghostclas-infer")
    linux = run(str(BUILD / "bin" / "ghostclas-infer"), "--runtime", str(runtime_folder()), *arguments)
    found = [json.loads(line) for line in windows.stdout.splitlines()]
    expected = [json.loads(line) for line in linux.stdout.splitlines()]
    assert len(found) == len(expected) == len(photos), windows.stderr
    for one, other in zip(found, expected, strict=True):
        assert one["file"].replace("\\", "/").endswith(os.path.basename(other["file"]))  # noqa: PTH119
        assert [label["label"] for label in one["top"]] == [label["label"] for label in other["top"]]
        for label, right in zip(one["top"], other["top"], strict=True):
            assert abs(label["score"] - right["score"]) <= 1e-6

    # A runtime beside the photos is another's; the folder of one may be named by a path from here.
    by_name = in_folder(LIBRARIES / "runtime", WINE, str(program), *arguments)
    assert (by_name.returncode, by_name.stdout) == (5, ""), by_name.stderr
    by_path = in_folder(LIBRARIES, WINE, str(program), "--runtime", "runtime", *arguments)
    assert by_path.stdout == windows.stdout, by_path.stderr
