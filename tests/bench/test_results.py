"""Results as JSON, as tables and as pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from ghostclas.bench.plots import PICTURES, _accuracy_size, apart, draw, family_of
from ghostclas.bench.report import JSON, PAGE, markdown, tables, write_report
from ghostclas.bench.results import Accuracy, Results, Settings, batch_threads, read_results
from ghostclas.errors import UsageError
from tests.bench.made import QUIET, case, results

PUBLISHED = Accuracy(dataset="ImageNet-1k", top1=75.8, measured=False, source="somebody")


@pytest.fixture
def family() -> Results:
    return results(
        *(
            case(model, ms * factor, top1, engine=engine, bytes=size)
            for engine, factor in (("openvino", 0.9), ("onnxruntime", 1.0))
            for model, ms, top1, size in (
                ("ghostnet_x0_5", 1.6, 66.9, 10_400_000),
                ("ghostnet_x1_0", 3.9, 74.0, 20_800_000),
                ("ghostnet_x1_3", 5.9, 75.8, 29_500_000),
            )
        ),
        case("mobilenetv3_large_100", 3.3, accuracy=PUBLISHED, random_weights=True),
    )


def test_results_survive_json(family: Results, tmp_path: Path) -> None:
    write_report(family, tmp_path)
    assert read_results(tmp_path) == family
    assert read_results(tmp_path / JSON) == family


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), ("{}", "no measurement"), ('{"schema_version": 2}', "schema_version")],
)
def test_what_is_no_measurement_is_refused_in_a_sentence(
    content: str | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / JSON
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_results(file)


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


def test_batches_use_all_cores_and_no_more() -> None:
    settings = Settings(threads=(1, 2, 4))
    assert [batch_threads(settings, cores) for cores in (1, 2, 3, 8)] == [1, 2, 2, 4]
    assert batch_threads(Settings(threads=(4,)), 2) == 4


def test_the_report_has_every_picture_and_each_opens(family: Results, tmp_path: Path) -> None:
    page = write_report(family, tmp_path).read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {JSON, PAGE, *PICTURES}
    for name in PICTURES:
        assert f"({name})" in page
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").getcolors(2**24) or []) > 50, "nothing is drawn in it"


def test_what_cannot_be_drawn_any_more_does_not_stay_in_the_report(family: Results, tmp_path: Path) -> None:
    write_report(family, tmp_path)
    alone = results(case(top1=None))
    page = write_report(alone, tmp_path).read_text(encoding="utf-8")
    assert not (tmp_path / "accuracy_size.png").exists()
    assert "accuracy_size.png" not in page
    assert (tmp_path / "threads.png").exists()


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
