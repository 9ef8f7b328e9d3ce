"""Tables, notes and the directory of a report."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ghostclas.bench.plots import PLOTS
from ghostclas.bench.report import JSON, PAGE, markdown, tables, write_report
from ghostclas.bench.results import Results
from tests.bench.made import QUIET, case, results


def test_flops_are_twice_the_macs_and_both_are_shown(family: Results) -> None:
    assert family.cases[0].flops == 282_000_000
    shown = tables(family)[1]
    row = dict(zip(shown.header, shown.rows[0], strict=True))
    assert (row["MACs"], row["FLOPs"]) == ("141.0 M", "282.0 M")


def test_every_setting_is_a_column_once(family: Results) -> None:
    header = tables(family)[0].header
    assert header[4:9] == ("1 thread", "2 threads", "4 threads", "batch 4, 2 threads", "batch 8, 2 threads")


def test_random_weights_and_published_accuracies_are_marked(family: Results) -> None:
    page = markdown(family)
    assert "| mobilenetv3_large_100 * |" in page
    assert "(75.80)" in page
    assert "random weights" in page
    assert "published ones" in page
    assert "somebody" in page


def test_a_noisy_machine_is_the_first_thing_the_page_says(family: Results) -> None:
    assert "Warning" not in markdown(family)
    noisy = family.model_copy(update={"noise": QUIET.model_copy(update={"difference": 0.3})})
    assert "**Warning: this machine is noisy" in markdown(noisy).split("## ")[0]


def test_the_report_has_every_plot_and_each_opens(family: Results, tmp_path: Path) -> None:
    page = write_report(family, tmp_path).read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {JSON, PAGE, *PLOTS}
    for name in PLOTS:
        assert f"({name})" in page
        with Image.open(tmp_path / name) as image:
            image.load()
            assert min(image.size) > 500
            assert len(image.convert("RGB").getcolors(2**24) or []) > 50, "nothing is drawn in it"


def test_what_cannot_be_drawn_any_more_does_not_stay_in_the_report(family: Results, tmp_path: Path) -> None:
    write_report(family, tmp_path)
    alone = results(case(top1=None))
    page = write_report(alone, tmp_path).read_text(encoding="utf-8")
    assert not (tmp_path / "accuracy_size.png").exists()
    assert "accuracy_size.png" not in page
    assert (tmp_path / "threads.png").exists()
