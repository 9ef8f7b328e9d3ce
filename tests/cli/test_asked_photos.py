"""Photos by their names: files, folders, patterns, a list, the demo."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli.asked_photos import AskedPhotos

Run = Callable[..., tuple[int, str, str]]


def objects(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_a_dash_is_a_list_on_stdin(small_bundle: Bundle, folder: Path) -> None:
    listed = f"\ufeff{folder / 'b.png'}\n\n{folder / 'a.jpg'}\r\n{folder / '[ab].jpg'}\n"
    done = subprocess.run(
        [sys.executable, "-m", "ghostclas", "predict", "-", "--json", "--model", str(small_bundle.path)],
        input=listed.encode(),
        capture_output=True,
        check=False,
    )
    found = objects(done.stdout.decode())
    assert [Path(o["file"]).name for o in found] == ["b.png", "a.jpg", "[ab].jpg"], "no mark, no pattern"
    assert [o["error"] and o["error"]["code"] for o in found] == [None, None, "not_found"]
    assert done.returncode == 3


def test_the_demo_labels_photographs_that_are_installed(run: Run) -> None:
    pytest.importorskip("skimage", reason="the extra 'demo' is not installed")
    code, out, _ = run("--demo", "--json")
    assert code == 0
    assert [Path(o["file"]).name for o in objects(out)][:3] == ["chelsea.png", "coffee.png", "rocket.jpg"]
    assert all(o["error"] is None for o in objects(out))


def test_one_line_says_what_was_left_out_of_a_folder(run: Run, folder: Path) -> None:
    code, _, err = run(folder, "--json")
    assert code == 0
    assert "left out 1 file that is no image: 1 .txt\n" in err


def test_photos_are_counted_in_the_background(folder: Path) -> None:
    total = AskedPhotos([str(folder), str(folder / "a.jpg")]).counted()
    for thread in threading.enumerate():
        if thread.name == "ghostclas-count":
            thread.join()
    assert total == [4]


def test_photos_whose_names_come_one_by_one_are_not_counted(folder: Path) -> None:
    assert AskedPhotos([str(folder), "-"]).counted() == []
    assert AskedPhotos([str(folder / "a.jpg")]).counted() == []
    assert not any(thread.name == "ghostclas-count" for thread in threading.enumerate())
