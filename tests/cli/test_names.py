"""Names that a stranger chose reach a terminal as text: no verb lets them move its cursor or forge a line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, update_manifest
from ghostclas.cli import main
from ghostclas.spec import Metric, label_hash
from tests import images
from tests.evaluation.past import past_run

EVIL = "\x1b]0;owned\x07\x9b2J\r\u202e\nerror: forged"
SHOWN = r"\x1b]0;owned\x07\x9b2J\r\u202e\nerror: forged"
_OBEYED = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u202e]|^error: forged", re.MULTILINE)


@pytest.fixture
def hostile(small_bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle whose classes, provenance and metrics have such names."""
    place = tmp_path / "model"
    shutil.copytree(small_bundle.path, place)
    classes = tuple(f"{name}{EVIL}" for name in small_bundle.classes)
    metric = Metric(dataset=f"set{EVIL}", images=1, top1=50.0, top5=None, through=f"cpu{EVIL}")
    changes = {"classes": classes, "label_hash": label_hash(classes), "metrics": (metric,)}
    update_manifest(Bundle.open(place), **changes, provenance={f"key{EVIL}": f"value{EVIL}"}, name=f"n{EVIL}")
    return place


@pytest.fixture
def photos(tmp_path: Path, hostile: Path) -> Path:
    """Photos in class folders of the bundle's own names, one in two classes, and one that is none."""
    root = tmp_path / "photos"
    for number, name in enumerate(Bundle.open(hostile).classes):
        (root / name).mkdir(parents=True)
        images.write_photo(root / name / f"p{EVIL}.jpg", seed=number % 6)
    (root / Bundle.open(hostile).classes[0] / f"bad{EVIL}.png").write_bytes(b"no pixels")
    return root


def shown(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    main([str(word) for word in arguments])
    text = capsys.readouterr()
    for stream in (text.out, text.err):
        assert not _OBEYED.search(stream), stream
    return text.out + text.err


def test_no_verb_lets_a_name_reach_the_terminal(
    hostile: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(photos.rglob("p*.jpg"))
    assert f"n{SHOWN}" in shown(capsys, "info", hostile)
    shown(capsys, "verify", hostile)
    assert f"p{SHOWN}.jpg" in shown(capsys, "predict", "--model", hostile, one)
    assert f"bad{SHOWN}.png" in shown(capsys, "predict", "--model", hostile, photos)
    assert f"beagle{SHOWN}" in shown(capsys, "eval", "--data", photos, "--model", hostile)
    run = tmp_path / f"run{EVIL}"
    shutil.copytree(hostile, run)
    assert f"run{SHOWN}" in shown(capsys, "compare", hostile, run, "--data", photos)
    made: list[str | Path] = ["--sort", tmp_path / f"sorted{EVIL}", "--report", tmp_path / "gallery"]
    assert "tabby, tabby cat_]0;owned" in shown(
        capsys, "predict", "--model", run, photos, "--min-score", "0", *made
    )
    past_run(tmp_path / "runs" / EVIL, [50.0], network=EVIL)
    assert SHOWN in shown(capsys, "runs", tmp_path / "runs")
    assert f"bad{SHOWN}.png" in shown(capsys, "data", "audit", photos)


@pytest.mark.parametrize(
    "words",
    [
        ("predict", EVIL),
        ("predict", "--model", EVIL, "x.jpg"),
        ("info", EVIL),
        ("export", "--model", f"{EVIL}.pth"),
        ("train", "--data", EVIL),
        ("eval", "--data", EVIL),
        ("bench", "diff", EVIL, EVIL),
        (EVIL,),
        ("predict", f"--{EVIL}"),
    ],
)
def test_an_error_shows_the_name_that_it_is_about(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "owned" in shown(capsys, *words)


def test_json_says_the_same_in_printable_characters(
    hostile: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(shown(capsys, "info", hostile, "--json"))
    assert told["name"] == f"n{EVIL}"
    one = next(photos.rglob("p*.jpg"))
    answer = json.loads(shown(capsys, "predict", "--model", hostile, one, "--json").splitlines()[0])
    assert answer["file"] == str(one)
    assert answer["top"][0]["label"].endswith(EVIL)
