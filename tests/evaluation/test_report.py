"""Reports: self-contained, correct figures, safe with any class name, written whole or not at all."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostclas import files
from ghostclas.bundle import Bundle
from ghostclas.data import open_source
from ghostclas.errors import MissingExtraError, UsageError
from ghostclas.evaluation import (
    Evaluation,
    Learned,
    compare_evaluations,
    evaluate,
    most_similar,
    write_comparison,
    write_report,
)
from ghostclas.evaluation.summary import summarize
from ghostclas.pages.charts import Chart, Line
from ghostclas.prediction import Classifier
from ghostclas.prediction.similar import PhotoIndex
from tests.colours import COLOURS, colour_bundle, colour_folder
from tests.images import encode, photo


class Page(HTMLParser):
    """What a page shows and what it refers to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("style", "script"):
            self.words.append(data)

    def images(self) -> list[Image.Image]:
        content = (base64.b64decode(uri.split(",", 1)[1]) for uri in self.references)
        return [Image.open(io.BytesIO(data)) for data in content]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    folder = colour_folder(
        tmp_path / "photos", {"red": ["red", "red", "green"], "green": ["green"], "blue": ["blue", "red"]}
    )
    (folder / "blue" / "empty.png").write_bytes(b"")
    with Classifier.load(colour_bundle(tmp_path / "colours"), threads=1) as classifier:
        return evaluate(classifier, open_source(folder))


def test_mistakes_show_what_speaks_for_them_where_the_network_allows_it(
    evaluation: Evaluation, small_bundle: Bundle, tmp_path: Path
) -> None:
    for name in small_bundle.classes[:3]:
        (tmp_path / "photos2" / name).mkdir(parents=True)
        for seed in range(3):
            (tmp_path / "photos2" / name / f"{seed}.png").write_bytes(encode(photo(120, 90, seed)))
    with Classifier.load(small_bundle, threads=1) as classifier:
        wrong = evaluate(classifier, open_source(tmp_path / "photos2"))
        index = PhotoIndex.open(classifier, tmp_path / "photos2", cache=tmp_path / "cache")
        similar = most_similar(wrong, index)
    plain = Page(write_report(wrong, tmp_path / "plain"))
    explained = Page(write_report(wrong, tmp_path / "explained", bundle=small_bundle))
    mistakes = len(wrong.mistakes())
    assert mistakes >= 6
    assert "Grad-CAM" in explained.text
    assert "Grad-CAM" not in plain.text
    assert len(explained.images()) == len(plain.images()) + mistakes
    assert set(similar) == set(wrong.mistakes().tolist())
    with_seen = Page(write_report(wrong, tmp_path / "seen", seen=similar))
    assert "that the model learned from" in with_seen.text
    # The very photo is in the index: its copy in another class is as similar.
    assert f"like {next(iter(similar.values())).label}, 1.00" in with_seen.text
    assert len(with_seen.images()) == len(plain.images()) + mistakes
    colours = Bundle.open(tmp_path / "colours")
    assert "Grad-CAM" not in Page(write_report(evaluation, tmp_path / "report", bundle=colours)).text


def many_classes(count: int, tmp_path: Path) -> Evaluation:
    """An evaluation of ``count`` classes, of which each is sometimes taken for the next."""
    names = tuple(f"class {i}" for i in range(count))
    folder = colour_folder(tmp_path / "many", {name: ["red", "blue"] for name in names})
    source = open_source(folder)
    labels = np.array([sample.label for sample in source.samples], np.int64)
    answer = (labels + np.arange(len(labels)) % 2) % count
    logits = np.zeros((len(labels), count), np.float32)
    logits[np.arange(len(labels)), answer] = 5
    return Evaluation(
        **vars(summarize(logits, labels, classes=tuple(source.classes))),
        model="many",
        through="nothing",
        source=source,
        indices=np.arange(len(labels)),
        labels=labels,
        logits=logits,
        bad=(),
        seconds=1.0,
    )


def test_the_page_shows_the_figures_and_needs_nothing_else(evaluation: Evaluation, tmp_path: Path) -> None:
    path = write_report(evaluation, tmp_path / "report")
    assert path == tmp_path / "report" / "index.html"
    page = Page(path)
    assert "66.7 %" in page.text
    assert "colours on photos" in page.text
    assert "empty.png" in page.text
    assert page.references
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", path.read_text(encoding="utf-8"))
    # Two mistakes, each once among the frequent ones and once among the confident ones.
    assert [image.size for image in page.images()] == [(40, 36)] * 4
    pixels = [np.asarray(image.convert("RGB"))[18, 20] for image in page.images()[-2:]]
    assert sorted(int(np.argmax(pixel)) for pixel in pixels) == [0, 1], "a red and a green photo"


def test_the_page_says_how_the_model_learned_and_names_the_axes(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    chart = Chart("Top-1", "epoch", [Line("a", [(1, 50.0), (2, 60.0)])], note="on 6 images")
    learned = Learned((chart,), {"Duration": "5m <b>00s</b>"})
    page = Page(write_report(evaluation, tmp_path / "report", learned=learned))
    assert "How it learned" in page.text
    assert "on 6 images" in page.text
    assert "Duration 5m <b>00s</b>" in page.text
    assert page.tags.count("polyline") == 1
    assert "answered" in page.text
    assert "right" in page.words
    assert "How it learned" not in Page(write_report(evaluation, tmp_path / "plain")).text


def test_the_figures_lie_beside_the_page(evaluation: Evaluation, tmp_path: Path) -> None:
    path = write_report(evaluation, tmp_path / "report")
    figures = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert figures == json.loads(json.dumps(evaluation.as_dict()))


def test_the_same_evaluation_gives_the_same_bytes(evaluation: Evaluation, tmp_path: Path) -> None:
    first, second = (write_report(evaluation, tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("count", [12, 13, 40, 41])
def test_many_classes_become_a_map(count: int, tmp_path: Path) -> None:
    evaluation = many_classes(count, tmp_path)
    page = Page(write_report(evaluation, tmp_path / "report"))
    sizes = [image.size for image in page.images()]
    assert ((count, count) in sizes) == (count > 40)
    if count > 40:
        drawn = np.asarray(page.images()[sizes.index((count, count))].convert("RGB"))
        white = (drawn == 255).all(axis=2)
        np.testing.assert_array_equal(~white, evaluation.confusion.dense() > 0)
    else:
        assert page.tags.count("td") > count**2
    assert "The most frequent mistakes" in page.text


def test_no_mistake_is_said_so(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"], "green": ["green"]})
    with Classifier.load(colour_bundle(tmp_path / "colours"), threads=1) as classifier:
        page = Page(write_report(evaluate(classifier, open_source(folder)), tmp_path / "report"))
    assert "There is no mistake" in page.text
    assert "most confident mistakes" not in page.text
    assert "do not determine a better temperature" in page.text
    assert "none" in page.text, "the recall of blue, which has no image"


def test_names_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    hostile = ("<script>alert(1)</script>", '" onload="x', "{{ 7 * 7 }}")
    bundle = colour_bundle(tmp_path / "model", hostile, says=dict(zip(hostile, COLOURS, strict=False)))
    folder = colour_folder(tmp_path / "photos", {"a": ["red", "green"], "b": ["green"], "c": ["blue"]})
    with (folder / "classes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(zip("abc", hostile, strict=True))
    with Classifier.load(bundle, threads=1) as classifier:
        evaluation = evaluate(classifier, open_source(folder))
    plain = Page(write_report(many_classes(3, tmp_path), tmp_path / "plain"))
    pages = [
        write_report(evaluation, tmp_path / "report"),
        write_comparison(compare_evaluations(evaluation, evaluation), tmp_path / "comparison"),
    ]
    for page in map(Page, pages):
        assert page.tags.count("script") == plain.tags.count("script")
        for name in hostile:
            assert name in page.text


def test_a_photo_that_is_gone_leaves_a_gap(evaluation: Evaluation, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "photos")
    page = Page(write_report(evaluation, tmp_path / "report"))
    assert page.references == []
    assert "gone" in page.text


def test_the_comparison_shows_both_and_what_changed(evaluation: Evaluation, tmp_path: Path) -> None:
    other = colour_bundle(tmp_path / "mixed", says={"red": "blue", "blue": "red"})
    with Classifier.load(other, threads=1) as classifier:
        comparison = compare_evaluations(evaluation, evaluate(classifier, evaluation.source))
    page = Page(write_comparison(comparison, tmp_path / "report"))
    assert "mixed against colours" in page.text
    assert "Only A is right: lost" in page.text
    # Lost: two red photos and a blue one. Gained: the red one in the folder blue.
    assert len(page.references) == 4
    figures = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert figures["only_b_right"] == ["blue/1.png"]


# ------------------------------------------------------------------ files


def test_an_earlier_report_is_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report"
    write_report(evaluation, target)
    page = (target / "index.html").read_text(encoding="utf-8")
    (target / "index.html").write_text(page + "<!-- old -->", encoding="utf-8")
    assert write_report(evaluation, target).read_text(encoding="utf-8") == page
    names = ["index.html", "predictions.csv", "report", "report.json"]
    assert sorted(path.name for path in target.parent.rglob("*")) == names
    (target / "predictions.csv").write_text("file,what I think of it\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"such as 'predictions\.csv'"):
        write_report(evaluation, target)


@pytest.mark.parametrize("name", ["index.html", "report.json"])
def test_a_page_of_somebody_else_is_never_replaced(evaluation: Evaluation, tmp_path: Path, name: str) -> None:
    target = tmp_path / "site"
    target.mkdir()
    (target / name).write_text("<html><body>my home page</body></html>", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"holds other files than a report, such as '{name}'"):
        write_report(evaluation, target)
    assert (target / name).read_text(encoding="utf-8") == "<html><body>my home page</body></html>"
    assert [path.name for path in target.iterdir()] == [name]


def test_a_report_of_an_earlier_version_is_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    path = write_report(evaluation, tmp_path / "report")
    page = path.read_text(encoding="utf-8")
    mark = '<meta name="generator" content="ghostclas">'
    assert page.count(mark) == 1
    path.write_text(page.replace(mark, ""), encoding="utf-8")
    assert write_report(evaluation, tmp_path / "report").read_text(encoding="utf-8") == page


MANY = """
import sys
from pathlib import Path
import numpy as np
from ghostclas.bench.fresh import peak_memory
from ghostclas.data import open_source
from ghostclas.evaluation import Evaluation, summarize, write_report
source = open_source(Path(sys.argv[1]))
classes, images = 21_000, len(source.samples)
drawn = np.random.default_rng(1)
logits = drawn.normal(size=(images, classes)).astype(np.float32)
labels = drawn.integers(0, classes, images)
logits[np.arange(images), labels] += drawn.integers(0, 8, images)
evaluation = Evaluation(
    **vars(summarize(logits, labels, classes=tuple(f"class {i}" for i in range(classes)))),
    model="many", through="nothing", source=source, indices=np.arange(images), labels=labels, logits=logits,
    bad=(), seconds=1.0,
)
write_report(evaluation, sys.argv[2])
print(peak_memory())
"""


def test_21_000_classes_need_no_500_mb(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"] * 100, "blue": ["blue"] * 100})
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(folder), str(tmp_path / "report")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 500e6
    page, figures = ((tmp_path / "report" / name).stat().st_size for name in ("index.html", "report.json"))
    assert page < 3e6
    assert figures < 6e6
    assert "The 1,000 of 21,000 classes with the lowest F1" in Page(tmp_path / "report" / "index.html").text


def test_other_files_are_never_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    target = tmp_path / "holiday"
    target.mkdir()
    (target / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"'photo\.jpg'"):
        write_report(evaluation, target)
    assert [path.name for path in target.iterdir()] == ["photo.jpg"]
    with pytest.raises(UsageError, match="is a file"):
        write_report(evaluation, target / "photo.jpg")


def test_a_failure_leaves_the_earlier_report(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(evaluation, tmp_path / "report")
    before = path.read_bytes()

    def full_disk(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "flush", full_disk)
    with pytest.raises(UsageError, match="No space left on device"):
        write_report(evaluation, tmp_path / "report")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["colours", "photos", "report"]


def test_without_jinja2_the_message_says_how_to_get_it(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ghostclas\[report\]'"):
        write_report(evaluation, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_a_browser_runs_the_page_s_scripts_under_its_own_policy(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    path = write_report(many_classes(41, tmp_path), tmp_path / "report")
    # Clicks the first heading twice once the page is there, as its reader would: names in falling order.
    shown = path.read_text(encoding="utf-8").replace(
        "</body>",
        "<script>for (let i = 0; i < 2; i++) document.querySelector('thead button').click();</script></body>",
    )
    path.write_text(shown, encoding="utf-8")
    dom = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert 'aria-sort="descending"' in dom
    rows = re.findall(r"<tr><td>(class \d+)</td>", dom)
    assert rows == sorted(rows, reverse=True)
    assert len(rows) == 41
    said = re.search(r'id="says"[^>]*>([^<]*)', dom)
    assert said
    assert "row, column and number of images appear here" in said.group(1)
