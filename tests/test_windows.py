"""What Windows lacks is not needed: an imitation of it, for machines that are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.photos import photo_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows imitates itself")
SCRIPT = Path(__file__).with_name("as_on_windows.py")

UNGUARDED = """
import multiprocessing
import sys
import ghostclas
multiprocessing.set_start_method("spawn", force=True)
small = ["data.resolution=32", "data.workers=1", "loop.device=cpu", "loop.batch_size=6"]
small.append("model.name=ghostnet_x0_2")
ghostclas.train(sys.argv[1], recipe="scratch", settings=small, output=sys.argv[2])
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", *command],
        env={**os.environ, "PYTHONWARNINGS": "ignore::EncodingWarning"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=600,
    )


@pytest.mark.slow
def test_train_resume_predict_export_and_verify_need_nothing_that_windows_lacks(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", train=4, val=2)
    (photos / "train" / "2").rename(photos / "train" / "小狗")
    (photos / "val" / "2").rename(photos / "val" / "小狗")
    ended = run(str(SCRIPT), str(photos), str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "shared memory" not in ended.stderr


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_of_it(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", train=4, val=2)
    script = tmp_path / "mine.py"
    script.write_text(UNGUARDED, encoding="utf-8")
    ended = run(str(script), str(photos), str(tmp_path / "run"))
    assert ended.returncode == 1
    imported, stopped = ended.stderr.rindex("must not train then"), ended.stderr.rindex("worker died")
    assert imported < stopped
    assert 'if __name__ == "__main__":' in ended.stderr[:stopped]
