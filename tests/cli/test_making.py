"""The table, the gallery and the folders that ``predict`` makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostclas.prediction import Classifier

Run = Callable[..., tuple[int, str, str]]


def test_a_second_run_into_the_same_output_is_refused_and_resume_adds_to_it(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "answers"
    assert run(folder / "a.jpg", "--output", answers)[0] == 0
    code, _, err = run(folder, "--output", answers)
    assert code == 2
    assert "from an earlier run; add --resume" in err
    code, _, err = run(folder, "--output", answers, "--resume")
    assert code == 0
    assert "2 photos after 1" in err
    lines = (answers / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Path(json.loads(line)["file"]).name for line in lines] == ["a.jpg", "b.png", "c.webp"]
    assert run(folder, "--output", answers, "--resume")[0] == 0
    assert (answers / "predictions.jsonl").read_text(encoding="utf-8").splitlines() == lines


def test_resume_without_output_is_refused(run: Run, folder: Path) -> None:
    assert run(folder, "--resume")[0] == 2


def test_a_report_is_a_gallery_of_every_photo_and_resume_adds_the_earlier_ones(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    report, answers = folder / "gallery", tmp_path / "answers"
    code, out, err = run(folder, "--report", report)
    assert (code, out) == (0, "")
    assert f"open: {report / 'index.html'}" in err
    assert len(list(report.rglob("*.jpg"))) == 3
    assert run(folder / "a.jpg", "--output", answers)[0] == 0
    code, _, err = run(folder, "--output", answers, "--report", report, "--resume")
    assert code == 0
    assert "2 photos after 1" in err, "the thumbnails in the folder are no photos of it"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("a.jpg", "b.png", "c.webp"))
    assert page.count('"heat": [') == 3, "what spoke for each label"
    assert len(list(report.rglob("*.jpg"))) == 3
    assert json.loads((report / "gallery.json").read_text(encoding="utf-8"))["photos"] == 3


@pytest.mark.parametrize(
    ("option", "kept"), [("--report", "each result has its error"), ("--sort", "they stay where they are")]
)
def test_a_broken_photo_is_named_and_what_was_made_is_shown(
    run: Run, folder: Path, tmp_path: Path, option: str, kept: str
) -> None:
    (folder / "a.jpg").write_bytes(b"broken")
    code, _, err = run(folder, option, tmp_path / "made")
    assert code == 3
    (named,) = (line for line in err.splitlines() if "is not an image" in line)
    assert named.startswith(str(folder / "a.jpg"))
    assert named.count("a.jpg") == 1
    assert err.endswith(f"error: 1 of 3 photos could not be labelled; {kept}\n")
    assert ("open: " if option == "--report" else "to take it back: ") in err


def test_a_report_needs_a_folder_of_its_own(run: Run, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    code, _, err = run(folder, "--report", folder)
    assert code == 2
    assert "holds other files than a gallery" in err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--report", "out", "--output", "out"], "--output out is in it"),
        (["--report", "out", "--sort", "out/sorted", "--move"], "--sort out/sorted is in it"),
        (["--sort", "photos", "--move"], "are in photos already"),
        (["--sort", ".", "--move"], "are in . already"),
    ],
)
def test_folders_that_would_swallow_each_other_are_refused(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], hint: str
) -> None:
    monkeypatch.chdir(folder.parent)
    before = sorted(folder.parent.rglob("*"))
    code, _, err = run("photos", *options)
    assert code == 2
    assert hint in err
    assert sorted(folder.parent.rglob("*")) == before


def test_an_interrupt_keeps_the_answers_and_says_how_to_go_on(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Classifier.stream

    def interrupted(self: Classifier, sources: Any, top: int = 5, **options: Any) -> Any:
        yield next(iter(stream(self, sources, top, **options)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "stream", interrupted)
        code, _, err = run(folder, "--output", tmp_path / "answers")
    assert code == 130
    assert "1 answers are kept: to continue, give the same command with --resume" in err
    assert run(folder, "--output", tmp_path / "answers", "--resume")[0] == 0
    lines = (tmp_path / "answers/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3


def test_a_table_for_excel_needs_a_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    code, _, err = run(folder, "--excel")
    assert code == 2
    assert "add --output DIR" in err
    assert run(folder, "--excel", "--output", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "predictions.csv").read_bytes().startswith(b"\xef\xbb\xbffile,")
