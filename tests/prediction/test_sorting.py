"""Photos sorted into folders, and back: nothing is lost or replaced, whatever happens in between."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from ghostclas.data import open_source, source_notes
from ghostclas.errors import UsageError
from ghostclas.files import lock
from ghostclas.prediction import find_images, placing, sorting
from ghostclas.prediction.placing import How
from ghostclas.prediction.sorting import LIST, UNSURE, sort_photos, undo_sorting
from ghostclas.spec import Label, Prediction, PredictionError

CLASSES = ("red", "CON", "a/b")
Answer = tuple[Path, Prediction]


def labelled(path: Path, index: int, score: float = 0.9, *, unknown: bool = False) -> Answer:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(f"photo {path}".encode("utf-8", "surrogateescape"))
    best = Label(index=index, label=CLASSES[index], score=score)
    return path, Prediction(file=path.name.encode("utf-8", "replace").decode(), top=(best,), unknown=unknown)


@pytest.fixture
def answers(tmp_path: Path) -> list[Answer]:
    holiday = tmp_path / "holiday"
    (holiday / "sub").mkdir(parents=True)
    (holiday / "broken.jpg").write_bytes(b"")
    return [
        labelled(holiday / "a.jpg", 0),
        labelled(holiday / "sub" / "a.jpg", 0, 0.8),
        labelled(holiday / "sub" / "A.JPG", 0, 0.7),
        labelled(holiday / 'x"y\nz, =1.jpg', 1),
        labelled(holiday / "b.jpg", 2),
        labelled(holiday / "low.jpg", 2, 0.4),
        labelled(holiday / "unknown.jpg", 0, 0.9, unknown=True),
        labelled(Path(os.fsdecode(os.fsencode(holiday) + b"/\xff.jpg")), 0),
        (holiday / "broken.jpg", Prediction(file="x", error=PredictionError(code="x", message="x"))),
    ]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sort_into(folder: Path, answers: Sequence[Answer], how: How = "copy", **options: Any) -> sorting.Sorting:
    return sort_photos(answers, folder, CLASSES, how=how, **options)


@pytest.mark.parametrize("how", get_args(How))
def test_photos_go_to_the_folder_of_their_label_and_back(
    tmp_path: Path, answers: list[Answer], how: How
) -> None:
    before = tree(tmp_path / "holiday")
    result = sort_into(tmp_path / "sorted", answers, how)
    placed = tree(tmp_path / "sorted")
    placed.pop(LIST)
    odd = os.fsdecode(b"red/\xff.jpg")
    assert sorted(placed) == sorted(
        [
            *("red/a.jpg", "red/a (2).jpg", "red/A (3).JPG", odd, '_CON/x"y\nz, =1.jpg', "a_b/b.jpg"),
            *(f"{UNSURE}/low.jpg", f"{UNSURE}/unknown.jpg"),
        ]
    )
    assert sorted(placed.values()) == sorted(content for content in before.values() if content)
    assert placed["red/a.jpg"] == before["a.jpg"], "the first keeps its name"
    assert result.folders == {"red": 4, "_CON": 1, "a_b": 1, UNSURE: 2}
    assert (result.unread, result.failed) == (1, [])
    assert all(
        target.read_bytes() == before[os.path.relpath(path, tmp_path / "holiday")]
        for path, target in result.placed.items()
    )
    assert len(tree(tmp_path / "holiday")) == (1 if how == "move" else len(before))
    (tmp_path / "sorted").rename(tmp_path / "elsewhere")
    undone = undo_sorting(tmp_path / "elsewhere")
    assert (undone.undone, undone.kept) == (8, [])
    assert tree(tmp_path / "holiday") == before
    assert not (tmp_path / "elsewhere").exists(), "an empty folder would be a class without images"
    with pytest.raises(UsageError, match=r"nothing to take back in .*elsewhere"):
        undo_sorting(tmp_path / "elsewhere")


def test_the_list_is_a_table_of_from_and_to(tmp_path: Path, answers: list[Answer]) -> None:
    sort_into(tmp_path / "sorted", answers[:1])
    with (tmp_path / "sorted" / LIST).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["from", "to", "how"], [str(answers[0][0]), "red/a.jpg", "copy"]]


@pytest.mark.parametrize("how", get_args(How))
def test_nothing_that_is_there_is_replaced(tmp_path: Path, answers: list[Answer], how: How) -> None:
    (tmp_path / "sorted" / "red").mkdir(parents=True)
    (tmp_path / "sorted" / "red" / "a.jpg").write_bytes(b"mine")
    sort_into(tmp_path / "sorted", answers[:1], how)
    assert (tmp_path / "sorted" / "red" / "a.jpg").read_bytes() == b"mine"
    assert (tmp_path / "sorted" / "red" / "a (2).jpg").exists()
    undo_sorting(tmp_path / "sorted" / LIST)
    assert tree(tmp_path / "sorted") == {"red/a.jpg": b"mine"}


def test_a_name_that_is_taken_meanwhile_is_left(
    tmp_path: Path, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def taking(source: Path, target: Path, how: How) -> None:
        if target.name == "a.jpg":
            target.write_bytes(b"somebody else's")
        placing.place(source, target, how)

    monkeypatch.setattr(sorting, "place", taking)
    result = sort_into(tmp_path / "sorted", answers[:1], "move")
    assert result.placed[answers[0][0]].name == "a (2).jpg"
    assert (tmp_path / "sorted" / "red" / "a.jpg").read_bytes() == b"somebody else's"
    assert undo_sorting(tmp_path / "sorted").kept != [], "a row whose photo never came to be is not taken"
    assert answers[0][0].exists()
    assert (tmp_path / "sorted" / "red" / "a.jpg").read_bytes() == b"somebody else's"


class Killed(BaseException):
    """Ends a sorting as a kill does: nothing is tidied up by this package."""


@pytest.mark.parametrize("how", get_args(How))
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("late", [False, True])
def test_a_kill_loses_nothing_and_the_same_command_goes_on(
    tmp_path: Path, answers: list[Answer], how: How, at: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path / "holiday")
    monkeypatch.setattr(sorting, "_TOGETHER", 2)
    count = 0

    def dying(source: Path, target: Path, how: How) -> None:
        nonlocal count
        count += 1
        if count > at and not late:
            raise Killed
        placing.place(source, target, how)
        if count > at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sorting, "place", dying)
        with pytest.raises(Killed):
            sort_into(tmp_path / "sorted", answers, how)
    contents = {**tree(tmp_path / "holiday"), **tree(tmp_path / "sorted")}.values()
    assert set(before.values()) <= set(contents)
    result = sort_into(tmp_path / "sorted", answers, how)
    assert result.already == at + late
    assert len(tree(tmp_path / "sorted")) == 8 + 1
    undo_sorting(tmp_path / "sorted")
    assert tree(tmp_path / "holiday") == before
    assert not tree(tmp_path / "sorted")


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_row_that_was_cut_off_is_nothing(tmp_path: Path, answers: list[Answer], cut: int) -> None:
    sort_into(tmp_path / "sorted", answers[:2], "move")
    path = tmp_path / "sorted" / LIST
    whole = path.read_bytes()
    path.write_bytes(whole + b'"/photos/x.jpg","red/x ""1"".jpg","move"'[:cut])
    sort_into(tmp_path / "sorted", answers[4:5], "move")
    assert len(sorting.read_rows(path)) == 3
    assert undo_sorting(path).undone == 3


_ENDLESS = """
import sys
from pathlib import Path
from ghostclas.prediction import sort_photos
from ghostclas.spec import Label, Prediction
answer = Prediction(file=None, top=(Label(index=0, label="red", score=1.0),))
photos = sorted(Path(sys.argv[1]).iterdir())
say = lambda done, _: print(done, flush=True)
sort_photos([(photo, answer) for photo in photos], sys.argv[2], ["red"], how=sys.argv[3], progress=say)
"""


@pytest.mark.parametrize("how", ["copy", "move"])
def test_a_killed_process_has_lost_nothing(tmp_path: Path, how: str) -> None:
    holiday, folder = tmp_path / "holiday", tmp_path / "sorted"
    holiday.mkdir()
    for number in range(3000):
        (holiday / f"{number}.jpg").write_bytes(b"%d" % number)
    before = tree(holiday)
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(holiday), str(folder), how], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        child.stdout.readline()
        child.kill()
    assert set(before.values()) <= {*tree(holiday).values(), *tree(folder).values()}
    assert 64 <= len(list((folder / "red").glob("*.jpg"))) < 3000, "it was killed on its way"
    assert undo_sorting(folder).kept == []
    assert tree(holiday) == before
    assert not folder.exists()


def test_an_undo_that_was_killed_goes_on(
    tmp_path: Path, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path / "holiday")
    sort_into(tmp_path / "sorted", answers, "move")
    calls = 0

    def dying(source: Path, target: Path, how: How) -> None:
        nonlocal calls
        calls += 1
        placing.place(source, target, how)
        if calls == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sorting, "place", dying)
        with pytest.raises(Killed):
            undo_sorting(tmp_path / "sorted")
    assert undo_sorting(tmp_path / "sorted").undone == 5
    assert tree(tmp_path / "holiday") == before


def test_a_move_that_was_killed_between_its_two_steps_is_undone(
    tmp_path: Path, answers: list[Answer]
) -> None:
    photo, content = answers[0][0], answers[0][0].read_bytes()
    sort_into(tmp_path / "sorted", answers[:1], "move")
    os.link(tmp_path / "sorted" / "red" / "a.jpg", photo)
    assert undo_sorting(tmp_path / "sorted").undone == 1
    assert photo.read_bytes() == content
    assert not (tmp_path / "sorted" / "red").exists()


def _edit(photo: Path, placed: Path) -> None:
    placed.write_bytes(b"edited")


def _remove_photo(photo: Path, placed: Path) -> None:
    photo.unlink()


def _link_photo_to_copy(photo: Path, placed: Path) -> None:
    photo.unlink()
    photo.symlink_to(placed)


@pytest.mark.parametrize("change", [_edit, _remove_photo, _link_photo_to_copy])
def test_a_copy_that_is_needed_stays(
    tmp_path: Path, answers: list[Answer], change: Callable[[Path, Path], None]
) -> None:
    sort_into(tmp_path / "sorted", answers[:1])
    placed = tmp_path / "sorted" / "red" / "a.jpg"
    change(answers[0][0], placed)
    content = placed.read_bytes()
    undone = undo_sorting(tmp_path / "sorted")
    assert (undone.undone, [target for target, _ in undone.kept]) == (0, ["red/a.jpg"])
    assert placed.read_bytes() == content
    assert len(sorting.read_rows(tmp_path / "sorted" / LIST)) == 1, "it stays in the list"


def test_a_moved_photo_whose_place_is_taken_stays(tmp_path: Path, answers: list[Answer]) -> None:
    sort_into(tmp_path / "sorted", answers[:1], "move")
    answers[0][0].write_bytes(b"a new one")
    assert "something else is at" in undo_sorting(tmp_path / "sorted").kept[0][1]
    assert answers[0][0].read_bytes() == b"a new one"
    assert (tmp_path / "sorted" / "red" / "a.jpg").exists()


def test_a_file_in_place_of_a_folder_is_left(tmp_path: Path, answers: list[Answer]) -> None:
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted" / "red").write_bytes(b"mine")
    result = sort_into(tmp_path / "sorted", answers[:5], "move")
    assert [why for _, why in result.failed] == [
        f"{tmp_path / 'sorted' / 'red'} is a file, and no folder of a label"
    ] * 3
    assert result.folders == {"_CON": 1, "a_b": 1}
    assert answers[0][0].exists()
    assert undo_sorting(tmp_path / "sorted").undone == 2
    assert tree(tmp_path / "sorted") == {"red": b"mine"}


def test_links_are_not_moved(tmp_path: Path, answers: list[Answer]) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to(answers[0][0])
    result = sort_into(tmp_path / "sorted", [(link, answers[0][1])], "move")
    assert [path for path, _ in result.failed] == [link]
    assert link.is_symlink()
    assert sort_into(tmp_path / "sorted", [(link, answers[0][1])], "copy").folders == {"red": 1}
    assert not (tmp_path / "sorted" / "red" / "link.jpg").is_symlink()


def test_a_photo_that_is_named_twice_is_placed_once(tmp_path: Path, answers: list[Answer]) -> None:
    assert sort_into(tmp_path / "sorted", [answers[0], answers[0]]).folders == {"red": 1}


@pytest.mark.parametrize(
    "row",
    [
        '"/etc/x","../x.jpg","move"',
        '"/etc/x","/etc/passwd","move"',
        '"/etc/x","a/b/c.jpg","copy"',
        '"/etc/x","c.jpg","copy"',
        '"relative","a/c.jpg","copy"',
        '"/etc/x","a/c.jpg","burn"',
        '"/etc/x","a/c.jpg"',
        '"/etc/x"y,"a/c.jpg","copy"',
    ],
)
def test_a_list_that_no_sorting_wrote_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / LIST
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.jpg").write_bytes(b"x")
    path.write_text(f'from,to,how\n{row}\n"{tmp_path}/x.jpg","a/c.jpg","move"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="nothing was changed"):
        undo_sorting(path)
    assert (tmp_path / "a" / "c.jpg").exists()
    path.write_text("file,label\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is no list of sorted photos"):
        undo_sorting(path)
    (tmp_path / "empty").mkdir()
    for nothing in ("absent", "empty"):
        with pytest.raises(UsageError, match=f"nothing to take back in .*{nothing}"):
            undo_sorting(tmp_path / nothing)


def test_two_at_once_are_told_apart(tmp_path: Path, answers: list[Answer]) -> None:
    sort_into(tmp_path / "sorted", answers[:1])
    with lock(tmp_path / "sorted" / ".sorting.lock"):
        with pytest.raises(UsageError, match="is being sorted"):
            sort_into(tmp_path / "sorted", answers)
        with pytest.raises(UsageError, match="is being sorted"):
            undo_sorting(tmp_path / "sorted")


def test_settings_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="copy, move, link"):
        sort_into(tmp_path, [], "burn")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="between 0 and 1"):
        sort_into(tmp_path, [], min_score=60)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("gallery.json", "thumbnails"), "a gallery"),
        (("manifest.json", "weights.safetensors"), "a bundle"),
        (("predictions.csv", "predictions.jsonl"), None),
    ],
)
def test_a_folder_that_photos_would_spoil_is_refused(
    tmp_path: Path, answers: list[Answer], names: Sequence[str], what: str | None
) -> None:
    (tmp_path / "made").mkdir()
    for name in names:
        (tmp_path / "made" / name).touch()
    before = sorted((tmp_path / "made").iterdir())
    if what is None:
        assert sort_into(tmp_path / "made", answers[:1]).folders == {"red": 1}
        return
    with pytest.raises(UsageError, match=f"made holds {what}; name another folder"):
        sort_into(tmp_path / "made", answers[:1])
    assert sorted((tmp_path / "made").iterdir()) == before


def test_training_takes_the_labels_of_a_sorted_folder_as_classes_and_unsure_as_none(
    tmp_path: Path, answers: list[Answer]
) -> None:
    sort_into(tmp_path / "sorted", answers)
    source = open_source(tmp_path / "sorted")
    assert source.classes == ("_CON", "a_b", "red")
    assert any(f"{UNSURE}/ (photos without a certain label)" in line for line in source_notes(source))


@pytest.mark.parametrize("how", get_args(How))
def test_photos_that_are_sorted_below_their_folder_are_found_once(
    tmp_path: Path, answers: list[Answer], how: How
) -> None:
    holiday = tmp_path / "holiday"
    sort_into(holiday / "sub" / "sorted", answers[:-1], how)
    assert len(list(find_images([holiday]))) == len(answers)
    assert len(list(find_images([holiday / "sub" / "sorted"]))) == len(answers) - 1


def test_a_sorted_folder_stands_for_its_photos_where_the_originals_are_not(
    tmp_path: Path, answers: list[Answer]
) -> None:
    sort_into(tmp_path / "data" / "train", answers[:2])
    assert len(list(find_images([tmp_path / "data"]))) == 2, "the originals lie elsewhere"
    sort_into(tmp_path / "holiday" / "sorted", answers[:2])
    for path, _ in answers[:2]:
        path.unlink()
    assert len(list(find_images([tmp_path / "holiday" / "sorted" / ".."]))) == len(answers), "they are gone"
