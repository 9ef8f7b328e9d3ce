"""``.`` works as a path, and an output that cannot be written is refused before the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ghostclas import zoo
from ghostclas.bundle import Bundle, pack
from ghostclas.cli import main
from tests.images import write_photo
from tests.training.photos import photo_folder


@pytest.fixture
def photos(small_bundle: Bundle, tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for name in small_bundle.classes[:2]:
            for number in range(3):
                photo = tmp_path / "photos" / split / name / f"{number}.jpg"
                photo.parent.mkdir(parents=True, exist_ok=True)
                write_photo(photo, seed=number + 10 * len(name) + 100 * len(split))
    return tmp_path / "photos"


READING = (
    ("eval", "--data", ".", "--model", "MODEL", "--record"),
    ("compare", "MODEL", "MODEL", "--data", "."),
    ("data", "audit", "."),
    ("predict", ".", "--model", "MODEL"),
    ("verify", "MODEL", "--data", "."),
    (
        "bench",
        "--model",
        "MODEL",
        "--engine",
        "onnxruntime",
        "--data",
        ".",
        "--rounds",
        "1",
        "--latency-only",
    ),
)


@pytest.mark.parametrize("words", READING, ids=lambda words: str(words[0]))
def test_the_data_may_be_the_current_directory(
    words: Sequence[str], photos: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    assert main([str(tiny_bundle.path) if word == "MODEL" else word for word in words]) == 0


def test_an_accuracy_on_the_current_directory_is_recorded_under_its_name(
    photos: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    assert main(["eval", "--data", ".", "--model", str(tiny_bundle.path), "--record"]) == 0
    assert [metric.dataset for metric in Bundle.open(tiny_bundle.path).manifest.metrics] == ["photos/val"]


WRITING = (
    ("eval --data PHOTOS --model MODEL --report .", "index.html"),
    ("compare MODEL MODEL --data PHOTOS --report .", "index.html"),
    ("data audit PHOTOS --report .", "index.html"),
    ("predict PHOTOS --model MODEL --output .", "predictions.csv"),
    ("export --model MODEL --output .", "manifest.json"),
    (
        "bench --model MODEL --engine onnxruntime --rounds 1 --threads 1 --batch 1 --latency-only --report .",
        "index.html",
    ),
)


@pytest.mark.parametrize(("line", "written"), WRITING, ids=[line.split()[0] for line, _ in WRITING])
def test_the_result_may_go_into_the_current_directory(
    line: str,
    written: str,
    photos: Path,
    tiny_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    names = {"PHOTOS": str(photos), "MODEL": str(tiny_bundle.path)}
    for again in (False, True):
        # Answers that are there are never replaced; they are added to.
        more = ["--resume"] if again and line.startswith("predict") else []
        assert main([*(names.get(word, word) for word in line.split()), *more]) == 0
        assert Path(written).is_file(), "the shell still stands in it"
    assert here.samefile(".")


REFUSED = (
    "eval --data PHOTOS --model MODEL --report FILE/report",
    "compare MODEL MODEL --data PHOTOS --report FILE/report",
    "data audit PHOTOS --report FILE/report",
    "predict PHOTOS --model MODEL --output FILE/out",
    "export --model MODEL --output FILE/out",
    "bench --model MODEL --report FILE/report",
    "train --data PHOTOS --output FILE/run",
    "ssld mine --teacher MODEL --labeled PHOTOS --unlabeled PHOTOS --output FILE/mined",
    "data prepare imagenet --train-tar GONE --val-tar GONE --devkit GONE --output FILE/imagenet",
)


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line.partition(" --")[0])
def test_what_cannot_be_written_is_refused_before_the_work(
    line: str,
    photos: Path,
    tiny_bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ghostclas.prediction import Classifier

    def worked(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    for name in ("stream", "stream_logits"):
        monkeypatch.setattr(Classifier, name, worked)
    monkeypatch.setattr("ghostclas.bench.run.measure", worked)
    monkeypatch.setattr("ghostclas.datasets.audit.audit", worked)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    names = {"PHOTOS": str(photos), "MODEL": str(tiny_bundle.path)}
    words = [names.get(word, word.replace("FILE", str(tmp_path / "file"))) for word in line.split()]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: cannot ")
    assert "Not a directory" in err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_an_archive_is_refused_before_it_is_verified_when_the_result_is_to_be_recorded_in_it(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verified(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    archive = pack(small_bundle, tmp_path / "small.zip")
    before = archive.read_bytes()
    monkeypatch.setattr("ghostclas.api.verify_bundle", verified)
    assert main(["verify", str(archive), "--record"]) == 4
    assert "is an archive, which is not changed in place; unpack it" in capsys.readouterr().err
    assert archive.read_bytes() == before


@pytest.mark.slow
def test_a_second_run_in_the_folder_of_its_images_does_not_take_the_first_for_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder(tmp_path / "colours") / "train"
    monkeypatch.chdir(folder)
    command = ["train", "--data", ".", "--network", "ghostnet_x0_2", "--recipe", "scratch", "--epochs", "0.5"]
    command += ["--size", "32", "--batch-size", "8", "--set", "data.workers=0", "--set", "loop.device=cpu"]
    for _ in range(2):
        assert main(command) == 0
    runs = sorted(Path("runs").iterdir())
    assert len(runs) == 2
    for run in runs:
        assert Bundle.open(run / "bundle").classes == ("0", "1", "2")


def test_a_refusal_leaves_no_folder_behind(tmp_path: Path) -> None:
    from ghostclas.files import check_folder

    check_folder(tmp_path / "a" / "b", option="--report")
    assert list(tmp_path.iterdir()) == []


def test_the_model_may_be_the_current_directory(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_bundle.path)
    assert zoo.locate(".").bundle().classes == tiny_bundle.classes
    assert main(["info", "."]) == 0
    assert main(["verify", ".", "--record"]) == 0
    assert (tiny_bundle.path / "parity.json").is_file()
