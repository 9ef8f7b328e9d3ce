"""Tables and notes, the page, and the directory of a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bench.report import JSON, PAGE, tables, write_report
from ghostclas.bench.results import Results, read_results
from ghostclas.errors import UsageError
from tests.bench.made import QUIET, case, results


def test_flops_are_twice_the_macs_and_both_are_shown(family: Results) -> None:
    assert family.cases[0].flops == 282_000_000
    shown = tables(family)[1]
    row = dict(zip(shown.header, shown.rows[0], strict=True))
    assert (row["MACs"], row["FLOPs"]) == ("141.0 M", "282.0 M")


def test_every_setting_is_a_column_once(family: Results) -> None:
    header = tables(family)[0].header
    assert header[4:9] == ("1 thread", "2 threads", "4 threads", "batch 4, 2 threads", "batch 8, 2 threads")


def test_figures_that_nobody_measured_are_no_column(family: Results) -> None:
    alone = results(case(top1=None, cold_start_ms=None, images_per_second=None, peak_memory=None))
    assert tables(alone)[1].header[4:] == ("MB", "MACs", "FLOPs")
    assert tables(family)[1].header[-1] == "top-1 %"


def page_of(measured: Results, folder: Path) -> str:
    return write_report(measured, folder).read_text(encoding="utf-8")


def test_random_weights_and_published_accuracies_are_marked(family: Results, tmp_path: Path) -> None:
    page = page_of(family, tmp_path)
    assert ">mobilenetv3_large_100 *</td>" in page
    assert "(75.80)" in page
    assert "random weights" in page
    assert "published ones" in page
    assert "somebody" in page


def test_a_noisy_machine_is_said_before_any_chart(family: Results, tmp_path: Path) -> None:
    assert "<b>Warning:</b>" not in page_of(family, tmp_path)
    noisy = family.model_copy(update={"noise": QUIET.model_copy(update={"difference": 0.3})})
    assert "<b>Warning:</b> this machine is noisy" in page_of(noisy, tmp_path).split("<section>")[0]


def test_the_page_says_on_which_machine_with_what_and_how_it_was_measured(
    family: Results, tmp_path: Path
) -> None:
    page = page_of(family, tmp_path)
    for fact in ("a processor", "8.0 GiB", "avx2 fma", "onnxruntime 1.32.0", "30 rounds of 5 runs"):
        assert f"{fact}</dd>" in page or f"{fact}, " in page, fact
    assert f"ghostclas {family.ghostclas}" in page


def test_the_best_of_each_figure_is_on_top(family: Results, tmp_path: Path) -> None:
    top = page_of(family, tmp_path).split("<section>")[0]
    assert "<b>1.44<small> ms</small></b>" in top
    assert "best: ghostnet_x0_5 in openvino, fp32" in top
    assert "best: ghostnet_x1_3 in openvino, fp32" in top, "the most accurate that was measured here"


def test_the_report_is_a_page_that_needs_no_other_file_and_the_figures(
    family: Results, tmp_path: Path
) -> None:
    page = page_of(family, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {JSON, PAGE}
    assert read_results(tmp_path) == family
    assert page.count('<svg class="lines"') == 2 + 2 * 4
    assert "<img" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_names_of_models_cannot_break_the_page(tmp_path: Path) -> None:
    page = page_of(results(case("<b>a</b>"), case("<i>b", 2.0)), tmp_path)
    assert "<b>a</b>" not in page
    assert "<i>b" not in page


def test_rows_are_sorted_by_figures_not_by_their_text(family: Results, tmp_path: Path) -> None:
    page = page_of(family, tmp_path)
    assert '<td data-value="3.51">3.51 ±0.04</td>' in page
    assert '<td data-value="75.8">(75.80)</td>' in page


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    page = page_of(results(case(), skipped=("small ncnn: not installed",)), tmp_path)
    assert "<li>small ncnn: not installed</li>" in page


def test_a_page_of_somebody_else_is_not_replaced(family: Results, tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="a page of somebody else"):
        write_report(family, tmp_path)
    assert not (tmp_path / JSON).exists()
