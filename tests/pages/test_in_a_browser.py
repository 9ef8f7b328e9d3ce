"""The pages as people see them: on a phone and on a screen, light and dark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ghostclas.bench.report import write_report as write_bench
from ghostclas.data import open_source
from ghostclas.datasets.audit import audit
from ghostclas.datasets.audit_page import write_page as write_audit
from ghostclas.evaluation import (
    Evaluation,
    Learned,
    compare_evaluations,
    evaluate,
    write_comparison,
    write_report,
)
from ghostclas.evaluation.runs import read_runs, write_runs
from ghostclas.pages.charts import Chart, Line
from ghostclas.prediction import Classifier, Gallery
from tests.bench.made import PUBLISHED, case, results
from tests.browser import running_chromium
from tests.colours import colour_bundle, colour_folder
from tests.data.trees import make_folder
from tests.evaluation.past import past_run, past_runs

LONG = "IMG_20250714_183059_a_name_without_any_space_as_phones_and_cameras_write_them"
SIZES = {"phone": (390, 844), "screen": (1280, 900)}

FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")
"""Returns a line for each thing on a page that a reader would stumble over."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from running_chromium()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """An evaluation with right and wrong answers and a file that cannot be read."""
    root = tmp_path_factory.mktemp("measured")
    folder = colour_folder(
        root / "photos", {"red": ["red"] * 8 + ["green"], "green": ["green"] * 4, "blue": ["blue", "red"]}
    )
    (folder / "red" / "0.png").rename(folder / "red" / f"{LONG}.png")
    shutil.copyfile(folder / "green" / "0.png", folder / "blue" / f"{LONG}.png")
    (folder / "blue" / f"{LONG} too.png").write_bytes(b"")
    with Classifier.load(colour_bundle(root / "colours"), threads=1) as classifier:
        return evaluate(classifier, open_source(folder))


def evaluation_page(folder: Path, measured: Evaluation) -> Path:
    points = [(float(epoch), 50.0 + 3 * epoch) for epoch in range(1, 11)]
    charts = (
        Chart("Top-1", "epoch", [Line("a", points)], note="on 16 images"),
        Chart("Loss", "epoch", [Line("training", points), Line("validation", points)]),
    )
    facts = {"Duration": "5m 00s", "Hardware": "a processor of 2 cores", "Settings": "lr 0.1, batches of 16"}
    return write_report(measured, folder, learned=Learned(charts, facts))


def comparison_page(folder: Path, measured: Evaluation) -> Path:
    other = replace(measured, model="another", logits=measured.logits[::-1].copy())
    return write_comparison(compare_evaluations(measured, other), folder)


def audit_page(folder: Path, measured: Evaluation) -> Path:
    root = make_folder(folder.parent / "audited", {"train/ant": 6, "train/bumblebee": 5, "train/cat": 1})
    make_folder(root, {"val/ant": 2, "val/bumblebee": 2, "val/cat": 2}, seed=50_000)
    shutil.copyfile(root / "train" / "ant" / "000.jpg", root / "val" / "ant" / f"{LONG}.jpg")
    shutil.copyfile(root / "train" / "ant" / "001.jpg", root / "train" / "cat" / "mislabelled.jpg")
    (root / "val" / "cat" / f"{LONG} too.jpg").write_bytes(b"<html>not found</html>")
    return write_audit(audit(root), folder)


def runs_page(folder: Path, measured: Evaluation) -> Path:
    root = past_runs(folder.parent / "runs")
    past_run(root / f"clothing-{LONG}", [10.0, 30.0, 62.0])
    return write_runs(read_runs([root]), folder)


def bench_page(folder: Path, measured: Evaluation) -> Path:
    cases = [
        case(model, ms * factor, top1, engine=engine)
        for engine, factor in (("openvino", 0.9), ("onnxruntime", 1.0))
        for model, ms, top1 in (("ghostnet_x0_5", 1.6, 66.9), ("ghostnet_x1_3", 5.9, 75.8))
    ]
    published = case("mobilenetv3_large_100", 3.3, accuracy=PUBLISHED, random_weights=True)
    return write_bench(results(*cases, published), folder)


def gallery_page(folder: Path, measured: Evaluation) -> Path:
    photos = folder.parent / "photos"
    colour_folder(photos, {"holiday": ["red", "green", "blue"] * 3})
    (photos / "holiday" / "0.png").rename(photos / "holiday" / f"{LONG}.png")
    (photos / "holiday" / f"{LONG} too.png").write_bytes(b"no image")
    files = sorted((photos / "holiday").iterdir())
    with (
        Gallery(folder, model="colours") as gallery,
        Classifier.load(colour_bundle(folder.parent / "colours"), threads=1) as classifier,
    ):
        for file, prediction in zip(files, classifier.stream(files, watch=gallery.keep), strict=True):
            gallery.add(file, prediction)
    return folder / "index.html"


PAGES: Mapping[str, Callable[[Path, Evaluation], Path]] = {
    "evaluation": evaluation_page,
    "comparison": comparison_page,
    "audit": audit_page,
    "runs": runs_page,
    "bench": bench_page,
    "gallery": gallery_page,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_on_a_phone_and_a_screen_in_light_and_in_dark(
    name: str, browser: Any, measured: Evaluation, tmp_path: Path
) -> None:
    path = PAGES[name](tmp_path / "page", measured)
    found: dict[str, list[str]] = {}
    brightness: dict[str, float] = {}
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            with browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=size == "phone"
            ) as context:
                page = context.new_page()
                page.goto(path.as_uri())
                seen = page.evaluate(FAULTS)
                if faults := seen["faults"]:
                    found[f"{size}, {scheme}"] = faults
                brightness[scheme] = seen["brightness"]
    assert found == {}, json.dumps(found, indent=2, ensure_ascii=False)
    assert brightness["light"] > 0.8
    assert brightness["dark"] < 0.05


def test_what_a_reader_would_stumble_over_is_found(browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(
        "<body style='background: #fff; color: #eee'><p>pale</p>"
        "<p style='color: #000; width: 30px; overflow-wrap: anywhere'>unbreakable</p>"
        "<div class='tiles' style='display: flex'><p style='color: #000; width: 90px'>A</p></div>"
        "<svg width='100' height='20'><text x='90' y='10' style='fill: #000'>100 %</text></svg>"
        "<div style='width: 500px; height: 1px'></div></body>"
    )
    faults = page.evaluate(FAULTS)["faults"]
    page.close()
    kinds = [fault.split(":")[0] for fault in faults]
    assert kinds == ["wider than the window", "broken word", "low contrast", "cut off", "gap"], faults
