"""Plots of results."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from ghostclas.bench.plots import _accuracy_size, apart, draw, family_of
from tests.bench.made import case, results


def test_a_file_has_one_mark_of_its_size_in_whatever_it_is_computed() -> None:
    widths = {"ghostnet_x0_5": 10_000_000, "ghostnet_x1_0": 20_000_000}
    cases = [
        case(model, engine=engine, precision=precision, bytes=size)
        for model, size in widths.items()
        for engine, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
    ]
    figure = _accuracy_size(results(*cases))
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == ["onnx, fp32"]


def test_without_anything_to_compare_nothing_is_drawn() -> None:
    assert draw(results(case(top1=None, latency=()))) == {}


def test_pictures_are_png() -> None:
    for content in draw(results(case("a", 1), case("b", 2))).values():
        assert Image.open(io.BytesIO(content)).format == "PNG"


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


def test_names_at_the_ends_of_lines_are_moved_apart_and_no_further() -> None:
    assert apart([0.0, 5.0], 1.0) == [0.0, 5.0]
    assert apart([1.0, 1.0], 1.0) == [0.5, 1.5]
    close = apart([0.0, 0.1, 0.2, 4.0], 1.0)
    assert close == pytest.approx([-0.9, 0.1, 1.1, 4.0])
