"""``ghostclas predict``: its output, files and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ghostclas.bundle import Bundle
from ghostclas.prediction import Classifier
from tests import images
from tests.full_disk import largest_file

Run = Callable[..., tuple[int, str, str]]


def objects(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


# ------------------------------------------------------------------ what is labelled


def test_a_file_gets_its_labels_best_first(run: Run, folder: Path, small_bundle: Bundle) -> None:
    code, out, err = run(folder / "a.jpg", "--top", "2")
    name, first, second = out.splitlines()
    (expected,) = Classifier.load(small_bundle).predict(folder / "a.jpg", top=2)
    assert code == 0
    assert name == str(folder / "a.jpg")
    assert first.split(maxsplit=1)[1] == expected.top[0].label
    assert second.split(maxsplit=1)[1] == expected.top[1].label
    assert float(first.split("%")[0]) == pytest.approx(100 * expected.top[0].score, abs=0.006)
    assert "ghostclas predict" in err


def test_a_few_named_photos_take_the_engine_that_starts_fastest(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    load = Classifier.load

    def watched(*arguments: Any, **options: Any) -> Classifier:
        asked.append(options["optimize_for"])
        return load(*arguments, **options)

    monkeypatch.setattr(Classifier, "load", watched)
    for paths in ([folder / "a.jpg"], [folder / "a.jpg"] * 100, [folder / "a.jpg"] * 101, [folder]):
        assert run(*paths)[0] == 0
    assert asked == ["startup", "startup", "throughput", "throughput"]


def test_a_folder_is_every_photo_below_it_in_order(run: Run, folder: Path) -> None:
    code, out, _ = run(folder, "--json")
    assert code == 0
    assert [o["file"] for o in objects(out)] == [
        str(folder / name) for name in ("a.jpg", "b.png", "sub/c.webp")
    ]


def test_a_pattern_is_what_it_matches(run: Run, folder: Path) -> None:
    code, out, _ = run(f"{folder}/**/*.[jw]*", "--json")
    assert code == 0
    assert [o["file"] for o in objects(out)] == [str(folder / name) for name in ("a.jpg", "sub/c.webp")]


def test_arguments_keep_their_order(run: Run, folder: Path) -> None:
    _, out, _ = run(folder / "sub", folder / "b.png", folder / "a.jpg", "--json")
    assert [Path(o["file"]).name for o in objects(out)] == ["c.webp", "b.png", "a.jpg"]


# ------------------------------------------------------------------ what is printed


def test_an_object_of_json_has_exactly_the_promised_shape(run: Run, folder: Path) -> None:
    (folder / "a.txt.jpg").write_text("text", encoding="utf-8")
    _, out, _ = run(folder, "--json", "--top", "2")
    good, bad, *_ = objects(out)
    assert list(good) == ["file", "top", "unknown", "error"]
    assert [list(label) for label in good["top"]] == [["index", "label", "score"]] * 2
    assert good["unknown"] is False
    assert good["error"] is None
    assert bad["top"] == []
    assert list(bad["error"]) == ["code", "message"]


def test_stdout_is_only_results(run: Run, folder: Path) -> None:
    _, out, err = run(folder, "--json")
    assert len(objects(out)) == 3
    assert err != ""


def test_the_python_answer_is_the_answer_on_the_command_line(
    run: Run, folder: Path, small_bundle: Bundle
) -> None:
    _, out, _ = run(folder / "a.jpg", "--json")
    (expected,) = Classifier.load(small_bundle).predict(str(folder / "a.jpg"))
    assert out == expected.model_dump_json() + "\n"


# ------------------------------------------------------------------ bad photos


def test_bad_photos_are_results_in_their_places(run: Run, tmp_path: Path) -> None:
    bad = images.bad_images()
    for name, image in bad.items():
        (tmp_path / name).write_bytes(image.data)
    for name in ("a.png", "m.png", "z.png"):
        (tmp_path / name).write_bytes(images.encode(images.photo(60, 50)))
    names = sorted([*bad, "a.png", "m.png", "z.png"])
    code, out, err = run(*(tmp_path / name for name in names), "--json")
    found = objects(out)
    assert code == 3
    assert [Path(o["file"]).name for o in found] == names
    for name, answer in zip(names, found, strict=True):
        if name in bad:
            assert answer["error"]["code"] == bad[name].code, name
            assert bad[name].words in answer["error"]["message"], name
            assert "\n" not in answer["error"]["message"]
        else:
            assert answer["error"] is None, name
    assert f"error: {len(bad)} of {len(names)} photos could not be labelled" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["strip", "cmyk", "deep", "animated", "turned"])
def test_unusual_photos_are_labelled(run: Run, tmp_path: Path, name: str) -> None:
    pixels = images.photo(80, 60)
    data = {
        "strip": images.encode(images.photo(1, 5000)),
        "cmyk": images.encode(Image.fromarray(pixels).convert("CMYK"), "JPEG"),
        "deep": images.encode(Image.fromarray(pixels[..., 0].astype("uint16") * 257)),
        "animated": images.animation("GIF", pixels, pixels[::-1]),
        "turned": images.encode(images.stored(pixels, 6), "JPEG", exif=images.exif(6)),
    }[name]
    path = tmp_path / name
    path.write_bytes(data)
    code, out, _ = run(path, "--json")
    assert code == 0
    assert len(objects(out)[0]["top"]) == 5


def test_a_turned_photo_has_the_labels_of_the_upright_one(run: Run, tmp_path: Path) -> None:
    pixels = images.photo(90, 60, 3)
    (tmp_path / "1.png").write_bytes(images.encode(pixels))
    (tmp_path / "2.png").write_bytes(images.encode(images.stored(pixels, 6), exif=images.exif(6)))
    _, out, _ = run(tmp_path, "--json")
    upright, turned = objects(out)
    assert turned["top"] == upright["top"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_photo_without_permission_is_a_result(run: Run, folder: Path) -> None:
    (folder / "a.jpg").chmod(0)
    code, out, _ = run(folder, "--json")
    assert code == 3
    assert objects(out)[0]["error"]["code"] == "unreadable"


@pytest.mark.parametrize(("path", "code"), [("gone.jpg", "not_found"), ("*.gone", "not_found")])
def test_what_does_not_exist_is_a_result(run: Run, tmp_path: Path, path: str, code: str) -> None:
    exit_code, out, err = run(tmp_path / path)
    assert exit_code == 3
    assert "does not exist" in out
    assert err.endswith("error: 1 of 1 photos could not be labelled; each result has its error\n")


def test_an_empty_folder_is_an_error(run: Run, tmp_path: Path) -> None:
    code, out, err = run(tmp_path)
    assert (code, out) == (3, "")
    assert err == f"error: there are no images in {tmp_path}\n"


# ------------------------------------------------------------------ --output


def test_output_writes_both_files_and_leaves_stdout_alone(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, err = run(folder, "--output", tmp_path / "answers")
    assert (code, out) == (0, "")
    lines = (tmp_path / "answers/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    table = (tmp_path / "answers/predictions.csv").read_text(encoding="utf-8").splitlines()
    assert [Path(json.loads(line)["file"]).name for line in lines] == ["a.jpg", "b.png", "c.webp"]
    assert len(table) == 4
    assert "predictions.csv" in err


def test_output_and_json_give_the_same_lines(run: Run, folder: Path, tmp_path: Path) -> None:
    _, out, _ = run(folder, "--json", "--output", tmp_path)
    assert (tmp_path / "predictions.jsonl").read_text(encoding="utf-8") == out


def test_output_of_bad_photos_is_written_too(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "a.jpg").write_bytes(b"")
    code, _, _ = run(folder, "--output", tmp_path / "answers")
    assert code == 3
    assert len((tmp_path / "answers/predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_output_of_nothing_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert run(tmp_path / "none", "--output", tmp_path / "answers")[0] == 3
    assert not list((tmp_path / "answers").glob("predictions.*l"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"])
def test_a_stdout_that_takes_nothing_is_no_traceback(small_bundle: Bundle, folder: Path, stdout: str) -> None:
    command = f'"$0" -m ghostclas predict "$1" --json --model "$2" {stdout}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(folder / "a.jpg"), str(small_bundle.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if stdout == ">&-":
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert "error: cannot write to stdout: No space left on device" in done.stderr


def test_a_name_with_line_breaks_is_printed_on_one_line(run: Run, folder: Path) -> None:
    path = folder / "x\r\n\x1b[2Jy.jpg"
    path.write_bytes((folder / "a.jpg").read_bytes())
    _, out, _ = run(path, "--top", "1")
    assert out.splitlines()[0].endswith(r"x\r\n\x1b[2Jy.jpg")


def test_output_into_a_file_is_refused(run: Run, folder: Path) -> None:
    code, _, err = run(folder / "a.jpg", "--output", folder / "b.png")
    assert code == 2
    assert err.startswith(f"error: cannot write to {folder / 'b.png'}")


# ------------------------------------------------------------------ what it costs


PHOTO_BUDGET = 430
"""Modules that Python loads to label one photo: what is imported is what a cold start waits for."""


def test_one_photo_imports_little(small_bundle: Bundle, folder: Path) -> None:
    command = ["-m", "ghostclas", "predict", str(folder / "a.jpg"), "--engine", "onnxruntime"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--model", str(small_bundle.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip() for line in lines[1:]}
    packages = {name.partition(".")[0] for name in names}
    assert {"onnxruntime", "numpy", "PIL"} <= packages
    heavy = {"rich", "pooch", "requests", "safetensors", "openvino", "torch", "onnx", "concurrent"}
    assert packages & heavy == set()
    rooms = {"download", "data", "evaluate", "verify", "bench", "export", "training"}
    assert names & {f"ghostclas.{room}" for room in rooms} == set()
    assert len(names) <= PHOTO_BUDGET


def test_predict_imports_no_training_half(small_bundle: Bundle, folder: Path) -> None:
    code = (
        "import sys\nfrom ghostclas.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "sys.stderr.write('\\n' + ' '.join(sorted({n.split('.')[0] for n in sys.modules})))"
    )
    arguments = [
        "predict",
        str(folder),
        "--json",
        "--model",
        str(small_bundle.path),
        "--engine",
        "onnxruntime",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    modules = set(done.stderr.splitlines()[-1].split())
    assert {"onnxruntime", "numpy"} <= modules
    unwanted = {
        "torch",
        "torchvision",
        "timm",
        "skimage",
        "rich",
        "pooch",
        "requests",
        "accelerate",
        "matplotlib",
    }
    assert modules & unwanted == set()


def test_a_full_disk_is_one_line_and_resume_keeps_the_answers_before_it(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "answers"
    with largest_file(900):
        code, _, err = run(folder, "--output", output)
    assert code == 2
    assert re.fullmatch(
        rf"error: cannot write to {output}: File too large; \d answers are kept there: "
        "mend that and add --resume\n",
        err,
    )
    assert sorted(p.name for p in output.iterdir()) == ["predictions.model.json", "predictions.partial.jsonl"]
    assert run(folder, "--output", output, "--resume")[0] == 0
    with (output / "predictions.jsonl").open(encoding="utf-8") as lines:
        files = [json.loads(line)["file"] for line in lines]
    assert len(files) == len(set(files)) == 3


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_bars_and_the_best_label_bold(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = folder / "a.jpg"
    plain = run(photo, "--top", "2")[1].splitlines()
    assert "\x1b" not in "".join(plain)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    run(photo, "--top", "2")
    _, first, second = terminal.getvalue().splitlines()
    score, label = plain[1].split(maxsplit=1)
    filled = round(float(score.rstrip("%")) / 5)
    assert first == f"  {score:>7}  {'█' * filled}{'░' * (20 - filled)}  \x1b[1m{label}\x1b[0m"
    assert second.endswith(f"  {plain[2].split(maxsplit=1)[1]}")
    assert "\x1b" not in second
    plain_terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", plain_terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    run(photo, "--top", "2")
    assert plain_terminal.getvalue().splitlines() == plain
