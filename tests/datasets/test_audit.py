"""The audit finds every planted fault, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostclas.cli import main
from ghostclas.datasets.audit import Audit, audit
from ghostclas.errors import DataError
from tests.data.trees import make_folder, zip_folder


@pytest.fixture
def found(dirty: Path) -> Audit:
    return audit(dirty, threads=2)


def test_every_planted_fault_is_found(found: Audit) -> None:
    groups = {tuple(sorted(file.name for file in group.files)): group for group in found.groups}
    assert groups.keys() == {
        ("train/ant/000.jpg", "val/ant/copied.jpg"),
        ("train/bee/001.jpg", "val/bee/rescaled.jpg"),
        ("train/bee/002.jpg", "train/cat/mislabelled.jpg"),
        ("train/cat/000.jpg", "train/cat/again.jpg"),
    }
    copied, rescaled_, mislabelled, again = (groups[key] for key in sorted(groups))
    assert (copied.exact, copied.leak, copied.conflict) == (True, True, False)
    assert (rescaled_.exact, rescaled_.leak, rescaled_.conflict) == (False, True, False)
    assert (mislabelled.exact, mislabelled.leak, mislabelled.conflict) == (True, False, True)
    assert (again.exact, again.leak, again.conflict) == (True, False, False)
    assert found.leaked == 2
    assert found.surplus == 4
    assert not found.clean


def test_unreadable_files_have_the_codes_of_imaging(found: Audit) -> None:
    assert {item.file.name: item.code for item in found.unreadable} == {
        "train/ant/empty.jpg": "empty",
        "train/ant/text.jpg": "not_an_image",
        "val/ant/cut.jpg": "truncated",
    }
    assert all(item.file.key in item.message for item in found.unreadable)


def test_odd_files_are_told_by_kind(found: Audit) -> None:
    assert {(item.file.name, item.kind) for item in found.odd} == {
        ("train/ant/really_png.jpg", "misnamed"),
        ("train/ant/tiny.jpg", "small"),
        ("train/bee/long.jpg", "elongated"),
        ("train/bee/blank.jpg", "blank"),
        ("val/bee/blank2.jpg", "blank"),
    }


def test_figures_of_the_parts(found: Audit) -> None:
    train, val = found.splits
    assert (train.name, train.images, dict(train.classes)) == ("train", 23, {"ant": 10, "bee": 7, "cat": 6})
    assert (val.name, val.images, val.missing) == ("val", 9, ("cat",))
    assert train.formats == {"JPEG": 20, "PNG": 1}
    assert train.short_side == (20, 32, 50)
    assert dict(train.ignored) == {".txt": 1}


def test_threads_and_storage_change_nothing(dirty: Path, found: Audit, tmp_path: Path) -> None:
    zipped = audit(zip_folder(dirty, tmp_path / "set.zip"), threads=1)
    ours, theirs = found.to_json(), zipped.to_json()
    theirs["location"] = ours["location"]
    theirs["notes"] = [note.replace("set.zip", "set") for note in theirs["notes"]]
    assert ours == theirs


def test_a_clean_folder_is_clean(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    report = audit(make_folder(tmp_path, {"ant": 6, "bee": 6}), progress=lambda *now: seen.append(now))
    assert report.clean
    assert (report.groups, report.unreadable, report.odd) == ((), (), ())
    assert seen == [(done, 12) for done in range(1, 13)]


def test_an_empty_class_is_a_finding_not_an_error(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/ant": 2, "train/bee": 0, "val/ant": 1, "val/bee": 1}, seed=9)
    assert [split.missing for split in audit(root).splits] == [("bee",), ()]
    with pytest.raises(DataError, match="no such folder"):
        audit(tmp_path / "nowhere")


def test_the_command_tells_the_findings_and_exits_with_3(
    dirty: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "audit", str(dirty), "--report", str(tmp_path / "page")]) == 3
    out, err = capfd.readouterr()
    assert "leaks: the same image in several splits: 2" in out
    assert "train/ant/000.jpg (ant) = val/ant/copied.jpg (ant)" in out
    assert "train/ant/empty.jpg: empty:" in out
    assert "classes without an image in val: 1\n  'cat'" in out
    assert "left out 1 file that is no image: 1 .txt" in out
    assert f"open: {tmp_path / 'page' / 'index.html'}" in err
    assert (tmp_path / "page" / "index.html").is_file()


def test_the_command_speaks_json(dirty: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", str(dirty), "--json"]) == 3
    content = json.loads(capfd.readouterr().out)
    assert content["clean"] is False
    assert content["leaked"] == 2
    assert len(content["unreadable"]) == 3
    assert content["notes"] == [f"{dirty / 'train'}: left out 1 file that is no image: 1 .txt"]
    assert len(content["groups"]) == 4


def test_a_page_that_would_be_a_file_is_refused_before_the_work(
    dirty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken.html"
    taken.write_text("mine")
    assert main(["data", "audit", str(dirty), "--report", str(taken)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        f"cannot write to {taken}: File exists" in err or f"cannot write to {taken}: Not a directory" in err
    )
    assert taken.read_text() == "mine"


def test_a_class_under_a_fifth_of_the_median_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(
        tmp_path, {"train/ant": 11, "train/bee": 10, "train/cat": 2, "train/dog": 1, "val/ant": 1}
    )
    found = audit(root)
    # The median of 11, 10, 2 and 1 is 6: two images are enough.
    assert [(one.label, one.images, one.median) for one in found.scarce] == [("dog", 1, 6)]
    assert found.clean
    assert found.to_json()["scarce"] == [{"label": "dog", "images": 1, "median": 6}]
    assert main(["data", "audit", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "data.balance=sampler draws them as often as others: 1\n" in shown
    assert "  dog: 1 of a median of 6 images\n" in shown
    assert audit(root / "val").scarce == ()
