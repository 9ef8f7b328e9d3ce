"""``predict --sort`` and ``--undo``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostclas.cli import main

Run = Callable[..., tuple[int, str, str]]


def objects(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_an_interrupted_sorting_says_how_to_take_it_back(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: Path, target: Path, how: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ghostclas.prediction.sorting.place", interrupted)
    code, _, err = run(folder, "--sort", tmp_path / "s")
    assert code == 130
    assert f"ghostclas predict --undo {tmp_path / 's'}" in err


def test_sorting_copies_and_undo_takes_it_back(run: Run, folder: Path) -> None:
    target = folder / "sorted"
    (folder / "broken.jpg").write_bytes(b"broken")
    before = sorted(folder.rglob("*"))
    code, out, err = run(folder, "--sort", target, "--min-score", "0", "--json")
    assert code == 3, "one photo is broken"
    assert f"to take it back: ghostclas predict --undo {target}" in err
    answers = {o["file"]: o["top"][0]["label"] for o in objects(out[: out.index("folder")]) if o["top"]}
    for file, label in answers.items():
        assert (target / label / Path(file).name).read_bytes() == Path(file).read_bytes()
    assert len(answers) == 3
    assert sum(int(line.split()[-1]) for line in out.splitlines() if line[0] not in "{f") == 3
    code, _, err = run(folder, "--sort", target, "--min-score", "0")
    assert "3 photos are in" in err, "photos that are sorted are no new ones"
    assert "they stay there; to sort anew, undo first" in err
    assert len(objects(run(folder, "--json")[1])) == 4, "nor are they for a command that sorts nothing"
    assert main(["predict", "--undo", str(target)]) == 0
    assert sorted(folder.rglob("*")) == before


def test_sorting_moves_or_links_when_told_and_the_gallery_knows_where(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    content = (folder / "a.jpg").read_bytes()
    code, out, _ = run(folder, "--sort", tmp_path / "s", "--min-score", "1", "--link")
    assert (code, out.split()) == (0, ["folder", "linked", "unsure", "3"])
    assert (tmp_path / "s" / "unsure" / "a.jpg").readlink() == folder / "a.jpg"
    assert main(["predict", "--undo", str(tmp_path / "s" / "sorted.csv")]) == 0
    code, out, _ = run(
        folder, "--sort", tmp_path / "s", "--min-score", "1", "--move", "--report", tmp_path / "g"
    )
    assert code == 0
    assert (tmp_path / "s" / "unsure" / "a.jpg").read_bytes() == content
    assert not (folder / "a.jpg").exists()
    assert '"link": "../s/unsure/a.jpg"' in (tmp_path / "g" / "index.html").read_text(encoding="utf-8")
    (tmp_path / "s" / "unsure" / "b.png").unlink()
    assert main(["predict", "--undo", str(tmp_path / "s")]) == 3
    assert (folder / "a.jpg").read_bytes() == content


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--move"], "add --sort"),
        (["--min-score", "0.5"], "add --sort"),
        (["--sort", "s", "--move", "--link"], "one of --move and --link"),
        (["--sort", "s", "--min-score", "60"], "between 0 and 1"),
        (["--undo", "s"], "give it alone"),
    ],
)
def test_options_of_sorting_that_mean_nothing_are_refused(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], hint: str
) -> None:
    monkeypatch.chdir(folder)
    code, _, err = run("a.jpg", *options)
    assert code == 2
    assert hint in err
    assert not (folder / "s").exists()
