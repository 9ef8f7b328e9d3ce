"""``ghostclas-infer`` prints the lines of ``ghostclas predict --json`` and ends with its exit codes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from ghostclas.bundle import Bundle, default_bundle_path, pack
from ghostclas.cli import main
from tests import images
from tests.cpp.building import built
from tests.cpp.native import assert_same_line, runtime_folder

Outcome = subprocess.CompletedProcess[bytes]


def infer(*arguments: str | os.PathLike[str] | bytes, shell: str = '"$@"', stdin: bytes = b"") -> Outcome:
    """Run the program on the built-in model, whose place and runtime the environment names."""
    program = built("ghostclas-infer") / "bin" / "ghostclas-infer"
    environment = {
        **os.environ,
        "GHOSTCLAS_ONNXRUNTIME": str(runtime_folder()),
        "GHOSTCLAS_DEFAULT_MODEL": str(default_bundle_path()),
    }
    command = ["sh", "-c", shell, "sh", str(program), *arguments]
    return subprocess.run(command, capture_output=True, input=stdin, env=environment, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good photos in two folders, bad ones, a hidden one, and files that are none."""
    root = tmp_path / "photos"
    (root / "sub.deep").mkdir(parents=True)
    for seed, name in enumerate(("b.png", "a.jpg", "sub.deep/c.webp", "no extension", ".hidden.jpg")):
        kind = {"png": "PNG", "jpg": "JPEG", "webp": "WebP"}.get(name.rpartition(".")[2], "PNG")
        (root / name).write_bytes(images.encode(images.photo(80, 60, seed), kind))
    (root / "notes.txt").write_text("not a photo", encoding="utf-8")
    (root / "odd").write_text("BM is no picture", encoding="utf-8")
    (root / "empty.gif").write_bytes(b"")
    (root / "line\nbreak \u202e\u00e9.jpg").write_bytes(b"no image")
    (root / "phone.jxl").write_bytes(b"\0\0\0\x0cJXL ")
    (root / "[x].jpg").write_bytes((root / "a.jpg").read_bytes())
    (root / "run").mkdir()
    for name in ("config.yaml", "log.jsonl", "d.jpg"):
        (root / "run" / name).write_bytes(b"")
    (root / "loop").symlink_to(root)
    return root


def compare(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], *, engine: str = "onnxruntime"
) -> Outcome:
    """Run both programs and compare all that they print and their exit codes."""
    done = infer(*arguments)
    code = main(["predict", "--json", "--engine", engine, *arguments])
    shown = capsys.readouterr()
    native, python = done.stdout.decode().splitlines(), shown.out.splitlines()
    assert len(native) == len(python), done.stderr.decode()
    for line, expected in zip(native, python, strict=True):
        assert_same_line(line, expected)
    assert done.returncode == code
    # Python also offers the next useful command, and shows its progress on a slow machine.
    notes = [
        line for line in shown.err.splitlines() if "ghostclas predict" not in line and " a second" not in line
    ]
    assert done.stderr.decode().splitlines() == notes
    return done


def test_one_photo_prints_the_line_of_python(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    done = compare(capsys, [str(folder / "a.jpg")], engine="auto")
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["."],
        ["./sub.deep/", "b.png", "../photos//a.jpg", "gone.jpg", "http://a.b/c.jpg"],
        ["*.jpg"],
        ["**/*.[jw]*"],
        ["[!a-c]*", "?.png", "[x].jpg", "*.gone"],
        ["**"],
        ["--top", "2", "a.jpg", "--top=3", "--json", "b.png", "--threads", "1"],
        ["a.jpg", "--batch-size", "1", "b.png", "empty.gif"],
        ["run"],
        ["sub.deep/none", "--", "-x"],
        ["--top", "1000", "a.jpg"],
        ["--quiet", "."],
        ["-q", "a.jpg"],
    ],
    ids=" ".join,
)
def test_words_mean_what_they_mean_in_python(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    compare(capsys, arguments)


def test_bad_photos_are_results_and_the_exit_code_says_so(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert compare(capsys, [str(folder)]).returncode == 3


def test_a_folder_without_images_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    assert compare(capsys, [str(tmp_path)]).returncode == 3


_BEGINNINGS = (
    b"",
    b"text",
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"II*\0",
    b"II+\0",
    b"MM\0*",
    b"MM\0+",
    b"RIFF\0\0\0\0WEBP",
    b"RIFF\0\0\0\0AVI ",
    b"\0\0\0\x20ftypisom",
    b"\0\0\0\x20ftypqt  ",
    b"\x1aE\xdf\xa3",
    b"\0\0\0\x20ftypavif",
    b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif",
    b"BM is it",
    b"BM\0\0" + bytes(10) + b"\x28\0\0\0",
    b"P1 2 2 ",
    b"P5\n# c\n12 ",
    b"P6 -3 ",
    b"P3# 5\n 4 ",
    b"Pf 3 3\n",
    b"P7\nWIDTH",
    b"P4 x",
    b"P5#",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL ",
    b"8BPS",
    b"%!PS",
    b"\xc5\xd0\xd3\xc6",
    b"%PDF-1.4",
    b" \n<svg xmlns",
    b"<?xml version='1.0'?><svg",
    b"<?xml version='1.0'?><html",
    b"\0\0\1\0",
    b"\0\0\2\0",
)
"""Of files of all kinds; HEIC is left out, which Python reads and C++ does not."""
_EXTENSIONS = (
    "",
    ".",
    ".foo",
    ".pic",
    ".JPG",
    ".pdf",
    ".mp4",
    ".svg",
    ".heic",
    ".psd",
    ".cr2",
    ".txt",
    ".jpg~",
    ".pnm",
)


@pytest.mark.parametrize("seed", range(4))
def test_files_of_any_name_are_what_they_hold(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, seed: int
) -> None:
    rng = Random(seed)
    for number, beginning in enumerate((*_BEGINNINGS, *_BEGINNINGS, *_BEGINNINGS)):
        content = beginning + rng.choice((b"", b" " * 20, rng.randbytes(rng.randrange(60))))
        if b"ftyp" not in content and rng.random() < 0.2:
            content = content[: rng.randrange(len(content) + 1)]
        (tmp_path / f"{number}{rng.choice(_EXTENSIONS)}").write_bytes(content)
    compare(capsys, [str(tmp_path)])


@pytest.mark.parametrize("moved", [False, True], ids=["copied", "moved"])
def test_galleries_and_sorted_photos_are_no_photos_of_the_folder(
    capsys: pytest.CaptureFixture[str], folder: Path, moved: bool
) -> None:
    order = ["--sort", str(folder / "sorted, here"), *(["--move"] if moved else [])]
    main(["predict", str(folder / "sub.deep"), *order])
    main(["predict", str(folder / "a.jpg"), "--report", str(folder / "gallery")])
    capsys.readouterr()
    done = compare(capsys, [str(folder)])
    assert (b"sorted, here" in done.stdout) == moved
    assert b"gallery" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--top", "0", "a.jpg"], ["--threads", "0", "a.jpg"], ["--top"], ["--quiet", "-v", "a.jpg"]],
    ids=" ".join,
)
def test_what_does_not_fit_is_refused_in_the_words_of_python(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert compare(capsys, arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tpo", "3"], "no such option: --tpo"),
        (["--top", "x", "a"], "invalid value for '--top'"),
        ([], "needs a photo, a folder, a pattern or -"),
        (["--engine", "ncnn", "a.jpg"], "there is no engine 'ncnn' in the C++ engine"),
        (["--precision", "fp3", "a.jpg"], "there is no precision 'fp3'"),
        (["--model", "nix", "a.jpg"], "no model 'nix': there is no such path"),
        *(
            ([option, "x", "a.jpg"], f"{option} is an option of ghostclas predict")
            for option in ("--output", "--report", "--sort", "--undo", "--min-score")
        ),
        *(
            ([option, "a.jpg"], f"{option} is an option of ghostclas predict")
            for option in ("--excel", "--resume", "--demo", "--copy", "--move", "--link")
        ),
    ],
)
def test_mistakes_are_told(arguments: list[str], words: str) -> None:
    done = infer(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"error: ")
    assert words in done.stderr.decode()


def test_verbose_says_which_bundle_and_which_runtime_answer(folder: Path) -> None:
    done = infer("--verbose", folder / "a.jpg")
    assert done.returncode == 0
    assert done.stderr.decode() == f"model: {default_bundle_path()}, a bundle\nengine: onnxruntime\n"
    assert done.stdout == infer(folder / "a.jpg").stdout


def test_a_list_on_stdin(folder: Path) -> None:
    listed = f"\ufeff{folder / 'b.png'}\n\n{folder / 'a.jpg'}\r\n{folder / '[ab].jpg'}\n{folder / 'sub.deep'}"
    done = infer("-", stdin=listed.encode())
    assert [line.split(b'"')[3].rpartition(b"/")[2] for line in done.stdout.splitlines()] == [
        *(b"b.png", b"a.jpg", b"[ab].jpg", b"c.webp")
    ]
    assert done.returncode == 3
    utf16 = infer("-", stdin="a.jpg\n".encode("utf-16"))
    assert (utf16.returncode, utf16.stderr) == (2, b"error: the list is UTF-16 text; write it as UTF-8\n")


def test_a_name_that_is_no_utf_8(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    name = os.fsencode(folder) + b"/\xff\xe9\xc3.jpg"
    os.rename(folder / "a.jpg", name)  # noqa: PTH104
    compare(capsys, [os.fsdecode(name), os.fsdecode(name + b"x")])


@pytest.mark.parametrize("kind", ["zip", "run", "onnx", "neither"])
def test_the_model_is_a_bundle_a_run_or_an_error(
    capsys: pytest.CaptureFixture[str], kind: str, folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / f"model.{kind}"
    if kind == "zip":
        pack(Bundle.open(default_bundle_path()), model)
    elif kind == "onnx":
        model.write_bytes(b"")
    else:
        model.mkdir()
        if kind == "run":
            (model / "bundle").symlink_to(default_bundle_path())
    done = compare(capsys, ["--model", str(model), str(folder / "a.jpg")])
    assert done.returncode == {"zip": 0, "run": 0, "onnx": 2, "neither": 4}[kind]


# ------------------------------------------------------------------ what stdout does


def test_a_full_disk_is_one_line(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    done = infer(folder / "a.jpg", shell='"$@" >/dev/full')
    assert done.returncode == 2
    assert done.stderr == b"error: cannot write to stdout: No space left on device\n"


def test_a_closed_stdout_is_no_error(folder: Path) -> None:
    assert infer(folder / "a.jpg", shell='"$@" >&-').returncode == 0


def test_a_folder_of_many_files_streams_into_a_pipe_that_closes(tmp_path: Path) -> None:
    for number in range(int(os.environ.get("GHOSTCLAS_FILES", "12000"))):
        (tmp_path / f"{number:06}.jpg").touch()
    done = infer(tmp_path, shell='{ "$@"; echo "$?" >&2; } | head -n 2')
    lines = done.stdout.splitlines()
    assert lines[0] < lines[1], "in order among those that the system listed first"
    assert done.stderr == b"1\n", "ended by the closed pipe, without a word"


def test_bench_measures_latency_and_throughput(folder: Path) -> None:
    done = infer("--bench", folder / "a.jpg", folder / "b.png")
    assert done.returncode == 0
    assert done.stdout.startswith(b"onnxruntime: p50 ")
    assert done.stdout.endswith(b" photos/s (2 photos)\n")


def test_help_and_version_need_no_model() -> None:
    assert infer("--help").stdout.startswith(b"usage: ghostclas-infer PATH")
    assert infer("--version").stdout.startswith(b"ghostclas-infer 0.")
