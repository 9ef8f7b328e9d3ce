"""The charts of results: what is drawn, over what, and with which intervals."""

from __future__ import annotations

import pytest

from ghostclas.bench.charts import accuracy_charts, family_of, model_charts
from ghostclas.bench.results import Results
from ghostclas.pages.charts import drawing
from tests.bench.made import case, results


def test_engines_are_drawn_over_each_other_and_the_widths_of_a_network_are_joined(family: Results) -> None:
    latency, size = accuracy_charts(family)
    assert [(line.name, len(line.points)) for line in latency.lines] == [
        ("openvino, fp32", 3),
        ("onnxruntime, fp32", 3),
        ("onnxruntime, fp32", 1),
    ]
    assert [line["name"] for line in drawing(latency)["legend"]] == ["openvino, fp32", "onnxruntime, fp32"]
    assert size.legend
    assert size.title == "Accuracy against size"


def test_error_bars_are_the_middle_half_of_the_rounds(family: Results) -> None:
    latency = accuracy_charts(family)[0]
    ms = family.cases[0].ms(2)
    assert ms is not None
    assert latency.across
    assert (latency.lines[0].points[0], latency.lines[0].low[0], latency.lines[0].high[0]) == (
        (ms.p50, 66.9),
        ms.p25,
        ms.p75,
    )
    photos = model_charts(family)[0].charts[1].lines[0]
    batch = family.cases[0].ms(2, 8)
    assert batch is not None
    assert (photos.low[-1], photos.high[-1]) == pytest.approx((8000 / batch.p75, 8000 / batch.p25))


def test_a_model_has_one_name_beside_the_point_farthest_right(family: Results) -> None:
    labels = accuracy_charts(family)[0].labels
    assert [name for name, _, _ in labels] == [
        "ghostnet_x0_5",
        "ghostnet_x1_0",
        "ghostnet_x1_3",
        "mobilenetv3_large_100",
    ]
    slower = family.cases[3].ms(2)
    assert slower is not None
    assert labels[0][1] == slower.p50


def test_published_accuracies_are_open_marks(family: Results) -> None:
    chart = accuracy_charts(family)[0]
    assert [line.hollow for line in chart.lines] == [False, False, True]
    assert "Open marks: as published" in chart.note


def test_each_model_has_its_threads_and_batches_with_all_engines_over_each_other(family: Results) -> None:
    models = model_charts(family)
    assert [model.model for model in models][:2] == ["ghostnet_x0_5", "ghostnet_x1_0"]
    threads, batches = models[0].charts
    assert [line.name for line in threads.lines] == ["openvino, fp32", "onnxruntime, fp32"]
    assert [text for _, text in drawing(threads)["across"]] == ["1", "2", "4"]
    assert [text for _, text in drawing(batches)["across"]] == ["1", "4", "8"]
    assert "There are 2 cores" in threads.note


def test_a_runtime_has_one_colour_on_the_whole_page(family: Results) -> None:
    looks = {
        (line.name, line.look)
        for chart in (accuracy_charts(family)[0], *(c for m in model_charts(family) for c in m.charts))
        for line in chart.lines
    }
    assert looks == {("openvino, fp32", 0), ("onnxruntime, fp32", 1)}


def test_a_row_of_charts_has_no_empty_cell(family: Results) -> None:
    assert [chart.wide for chart in accuracy_charts(family)] == [False, False]
    one = results(case("a", latency=case().latency[:3]))
    ((threads,),) = (model.charts for model in model_charts(one))
    assert threads.wide


def test_a_file_has_one_mark_of_its_size_in_whatever_it_is_computed() -> None:
    widths = {"ghostnet_x0_5": 10_000_000, "ghostnet_x1_0": 20_000_000}
    cases = [
        case(model, engine=engine, precision=precision, bytes=size)
        for model, size in widths.items()
        for engine, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
    ]
    size = accuracy_charts(results(*cases))[1]
    assert [(line.name, len(line.points)) for line in size.lines] == [("onnx, fp32", 2)]


def test_without_anything_to_compare_nothing_is_drawn() -> None:
    nothing = results(case(top1=None, latency=()))
    assert accuracy_charts(nothing) == []
    assert model_charts(nothing) == []
    assert accuracy_charts(results(case(), case(engine="openvino"))) == [], "one accuracy is no comparison"


def test_a_model_at_several_sizes_is_named_with_its_size() -> None:
    charts = model_charts(results(case(size=96), case(size=128)))
    assert [model.model for model in charts] == ["ghostnet_x1_0 96", "ghostnet_x1_0 128"]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("ghostnet_x1_0", "ghostnet"),
        ("ghostnet_x1_0_tiny200", "ghostnet_x1_0_tiny200"),
        ("ghostnet_x1_0 128", "ghostnet"),
        ("mobilenetv3_small_100", "mobilenetv3"),
        ("mobilenetv3_large_100", "mobilenetv3"),
        ("mobilenetv1_100", "mobilenetv1"),
        ("repghostnet_050", "repghostnet"),
        ("efficientnet_lite0", "efficientnet"),
        ("flowers", "flowers"),
    ],
)
def test_widths_of_one_network_are_a_family(model: str, family: str) -> None:
    assert family_of(model) == family
