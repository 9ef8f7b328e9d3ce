"""Files are replaced whole or not at all, and a lock has one holder."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ghostclas import files
from ghostclas.files import LockedError, lock, replacing, replacing_folder, sweep, write_text
from tests.full_disk import largest_file
from tests.limited import run_python

HOLD = """
import sys
from pathlib import Path
from ghostclas.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

WINDOWS = """
import errno, fcntl, os, pathlib, socket, sys, types
def locking(descriptor, mode, count):
    assert (mode, count, os.lseek(descriptor, 0, os.SEEK_CUR)) == (2, 1, 1 << 30)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
sys.modules["fcntl"] = None
unlink, opened = pathlib.Path.unlink, os.open
def unlink_closed(path, missing_ok=False):
    for entry in os.scandir("/proc/self/fd"):
        if os.path.realpath(entry.path) == str(path):
            raise PermissionError(errno.EACCES, "in use")
    unlink(path, missing_ok)
def open_file(path, *arguments):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "a folder")
    return opened(path, *arguments)
pathlib.Path.unlink, os.open = unlink_closed, open_file
sys.platform = "win32"
"""


@contextmanager
def holder(path: Path, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock ``path`` until it is told to end."""
    command = [sys.executable, "-c", before + HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_is_half_written_leaves_the_one_before_it(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    write_text(file, "before")
    with pytest.raises(TypeError), replacing(file) as part, part.open("w", encoding="utf-8") as stream:
        stream.writelines(["half", 0])  # type: ignore[list-item]
    assert file.read_text(encoding="utf-8") == "before"
    assert names(tmp_path) == ["notes"]


def test_the_file_before_is_kept_where_that_is_asked(tmp_path: Path) -> None:
    file, previous = tmp_path / "last", tmp_path / "last.previous"
    for text in ("one", "two", "three"):
        with replacing(file, previous=previous) as part:
            part.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == "three"
    assert previous.read_text(encoding="utf-8") == "two"
    assert names(tmp_path) == ["last", "last.previous"]


def test_a_folder_that_is_half_written_leaves_the_one_before_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with replacing_folder(target) as staged:
        (staged / "a").touch()
    with pytest.raises(FileExistsError), replacing_folder(target) as staged:
        shutil.copytree(target, staged)
    assert (names(target), names(target.parent)) == (["a"], ["folder"])
    with replacing_folder(target) as staged:
        (staged / "b").touch()
    assert (names(target), names(target.parent)) == (["b"], ["folder"])


def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    left = files.beside(tmp_path / "notes")
    left.touch()
    sweep(tmp_path)
    assert left.exists()
    os.utime(left, (0, 0))
    sweep(tmp_path)
    assert not left.exists()


DRAFTS = """
import os, signal, sys
from pathlib import Path
from ghostclas.files import replacing, replacing_folder
place = Path(sys.argv[1])
with replacing_folder(place / "b") as staged, replacing(place / "notes") as part:
    (staged / "model").touch()
    part.touch()
    print(staged.name, part.name, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="whether a process is there is not asked on Windows")
def test_a_clock_that_was_set_back_keeps_no_draft_from_its_only_writer(tmp_path: Path) -> None:
    left = tmp_path / ".a.0.tmp"
    left.touch()
    os.utime(left, (2**32, 2**32))
    sweep(tmp_path)
    assert left.exists()
    sweep(tmp_path, older_than=0)
    assert not left.exists()


def test_what_a_killed_writer_left_is_swept_at_the_next_start_and_nothing_of_a_living_one(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", DRAFTS, str(tmp_path)]
    killed = subprocess.run([*command, "killed"], capture_output=True, text=True, check=False)
    with subprocess.Popen(
        [*command, "waits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        its_own = living.stdout.readline().split()
        write_text(tmp_path / "notes", "new")
        assert names(tmp_path) == sorted([*its_own, "notes"])
        assert len(killed.stdout.split()) == 2
        living.communicate("")
    assert names(tmp_path) == ["b", "notes"]


def test_what_another_machine_writes_is_left_alone_for_a_day(tmp_path: Path) -> None:
    theirs = tmp_path / ".b.00000000.1.00000000.tmp"
    theirs.mkdir()
    files.sweep_drafts(tmp_path)
    assert theirs.exists()
    os.utime(theirs, (0, 0))
    files.sweep_drafts(tmp_path)
    assert not theirs.exists()


def test_what_was_in_a_folder_that_is_exchanged_is_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo").touch()
    monkeypatch.chdir(tmp_path)
    # As after a kill: nobody tidies up.
    monkeypatch.setattr(shutil, "rmtree", lambda *_args, **_options: None)
    with replacing_folder(tmp_path) as staged:
        (staged / "new").touch()
    monkeypatch.undo()
    with replacing_folder(tmp_path / "other"):
        files.sweep_drafts(tmp_path)
    assert [path.name for path in tmp_path.glob(".previous.*/*")] == ["photo"]


READING = """
import os, sys, threading
from pathlib import Path
from ghostclas.files import read_regular
folder = Path(sys.argv[1])
os.mkfifo(folder / "pipe")
(folder / "zero").symlink_to("/dev/zero")
(folder / "folder").mkdir()
with (folder / "sparse").open("wb") as file:
    file.truncate(200 * 10**9)
(folder / "good").write_bytes(b"x" * 1000)
for name in ("pipe", "zero", "folder", "sparse", "good", "/proc/self/maps", "absent", "n" * 300, "null\\0"):
    try:
        print(len(read_regular(folder / name, 1000)) > 0)
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the pipes, devices and limits of Linux")
def test_only_regular_files_are_read_and_no_more_than_the_limit(tmp_path: Path) -> None:
    outcome = run_python(READING, tmp_path)
    assert outcome.stdout.splitlines() == [
        "it is no regular file, but a pipe or a device",
        "it is no regular file, but a pipe or a device",
        "it is a folder",
        "it has 200,000,000,000 bytes or more; the limit is 1,000",
        "True",
        "it has 1,001 bytes or more; the limit is 1,000",
        "No such file or directory",
        "File name too long",
        "no file can have this name",
    ]
    assert outcome.cpu_seconds < 5
    assert outcome.peak_bytes < 100e6


def test_a_lock_that_another_process_holds_names_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(path) as process, pytest.raises(LockedError, match=rf"process {process.pid} on "):
        lock(path)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(path) as process:
        process.kill()
        process.wait()
        assert path.exists()
        lock(path).release()
    assert names(tmp_path) == []


def test_who_waits_is_told_for_whom_and_gets_the_lock_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        process.kill()

    with holder(path) as process, lock(path, wait=60, say=say):
        pass
    assert told == [f"waiting for process {process.pid} on {os.uname().nodename}, which holds {path}"]


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    inside: list[None] = []
    most: list[int] = []

    def count() -> None:
        for _ in range(5):
            with lock(path, wait=60):
                inside.append(None)
                most.append(len(inside))
                files.flush(tmp_path)
                inside.pop()

    with lock(path), pytest.raises(LockedError, match="another thread of this process"):
        lock(path)
    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def _count(file: Path) -> None:
    for _ in range(25):
        with lock(file.with_suffix(".lock"), wait=60):
            write_text(file, str(int(file.read_text(encoding="utf-8")) + 1))


def test_no_change_under_a_lock_is_lost_among_processes(tmp_path: Path) -> None:
    file = tmp_path / "count"
    write_text(file, "0")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_count, args=(file,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert file.read_text(encoding="utf-8") == "75"
    assert names(tmp_path) == ["count"]


def test_a_forked_child_neither_holds_nor_drops_its_parent_s_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    held = lock(path)
    child = os.fork()
    if child == 0:
        held.release()
        try:
            lock(path)
        except LockedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with holder_refused(path):
        held.release()
    assert names(tmp_path) == []


@contextmanager
def holder_refused(path: Path) -> Iterator[None]:
    """Assert first that no other process can have the lock."""
    tried = subprocess.run(
        [sys.executable, "-c", HOLD, str(path)], input="", capture_output=True, text=True, check=False
    )
    assert f"LockedError: process {os.getpid()} on " in tried.stderr
    yield


def test_windows_locks_a_byte_and_opens_no_folder(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    script = WINDOWS + (
        "from ghostclas.files import lock, write_text\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "write_text(path.with_name('notes'), 'text')\n"
        "held = lock(path)\n"
        "assert path.exists()\n"
        "held.release()\n"
        "lock(path).release()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert names(tmp_path) == ["notes"]
    with holder(path, before=WINDOWS) as process, pytest.raises(LockedError, match=f"process {process.pid}"):
        lock(path)


def test_a_lock_on_a_full_disk_is_held_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with largest_file(0), lock(path):
        with pytest.raises(LockedError):
            lock(path)
        assert path.exists()
    assert list(tmp_path.iterdir()) == []
