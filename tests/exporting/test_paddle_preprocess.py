"""``inference.yml`` is read exactly, or refused by the name of what a bundle does not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ghostclas.errors import DataError
from ghostclas.exporting.paddle_preprocess import (
    ClassMap,
    number,
    read_class_map,
    read_config,
    read_labels,
    read_transforms,
)
from ghostclas.spec import PreprocessSpec, ResizeSpec

NORMALISE = {
    "NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "order": ""}
}


def test_the_usual_steps_are_opencvs() -> None:
    spec = read_transforms(
        [
            {"ResizeImage": {"resize_short": 256}},
            {"CropImage": {"size": 224}},
            NORMALISE,
            {"ToCHWImage": None},
        ]
    )
    resize = ResizeSpec(short_side=256, antialias=False, library="opencv")
    assert spec == PreprocessSpec(resize=resize, crop=224, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))


def test_pillow_and_stretching_are_kept() -> None:
    given = {"size": [96, 96], "interpolation": "bicubic", "backend": "pil"}
    spec = read_transforms([{"ResizeImage": given}, NORMALISE])
    assert spec.resize == ResizeSpec(short_side=96, interpolation="bicubic", library="pillow", size=(96, 96))
    assert spec.crop == 96
    wide = read_transforms([{"ResizeImage": {"size": [160, 96]}}, {"CropImage": {"size": 96}}, NORMALISE])
    assert wide.resize.size == (160, 96)


def test_another_scale_moves_into_mean_and_deviation() -> None:
    given = {"scale": 1.0, "mean": [127.5, 127.5, 127.5], "std": [51, 51, 51]}
    spec = read_transforms([{"ResizeImage": {"size": 64}}, {"NormalizeImage": given}])
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([NORMALISE], "lacks ResizeImage"),
        ([{"ResizeImage": {"size": [160, 80]}}, NORMALISE], r"photos of \(160, 80\); only squares"),
        ([{"ResizeImage": {"size": 64, "interpolation": "area"}}, NORMALISE], "scales by area of cv2"),
        ([{"ResizeImage": {"size": 64, "backend": "gd"}}, NORMALISE], "bilinear of gd"),
        (
            [{"ResizeImage": {"size": 64, "keep": True}}, NORMALISE],
            "ResizeImage has keep, which is not known",
        ),
        ([{"PadImage": None}, NORMALISE], "has PadImage, which is not known"),
        ([NORMALISE, {"ResizeImage": {"size": 64}}], "in another order"),
        ([{"ResizeImage": {"size": 227}}, NORMALISE], "multiple of 32"),
        ([{"ResizeImage": {"resize_short": 64}}, {"CropImage": {"size": 96}}, NORMALISE], "larger than"),
        ([{"ResizeImage": {"size": 64}}, {"NormalizeImage": {"channel_num": 4}}], "three channels"),
        ([{"ResizeImage": {"size": 64}}, {"NormalizeImage": {"std": [0, 1, 1]}}], "std must be positive"),
        ([{"ResizeImage": {"size": 64}}, {"NormalizeImage": {"scale": "__import__('os')"}}], "is no number"),
    ],
)
def test_what_a_bundle_does_not_do_is_refused_by_name(steps: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_transforms(steps)


@pytest.mark.parametrize(
    ("given", "value"), [("1.0/255.0", 1 / 255), ("2 * .5", 1.0), (3, 3.0), ("1e-4", 1e-4), (-0.5, -0.5)]
)
def test_numbers_may_be_small_expressions(given: Any, value: float) -> None:
    assert number(given, "scale") == value


@pytest.mark.parametrize("given", ["1/0", "1+1", "(1)", "1/255/2", "", None, True, "inf", "9" * 500, "1e999"])
def test_nothing_is_evaluated(given: Any) -> None:
    with pytest.raises(ValueError, match="scale"):
        number(given, "scale")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0 tench, Tinca tinca\n1 goldfish\n2 crane\n", ("tench, Tinca tinca", "goldfish", "crane")),
        ("1 b\n0 a\n2 c\n", ("a", "b", "c")),
        ("cat\ndog\n\nbird\n", ("cat", "dog", "bird")),
        ("0 crane\n1 heron\n2 crane\n", ("crane (0)", "heron", "crane (2)")),
    ],
)
def test_lists_of_labels_are_read(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt", 3) == names


def test_labels_may_be_in_gbk_and_have_a_delimiter(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("0\t小狗\n1\t猫\n".encode("gbk"))
    assert read_labels(tmp_path / "labels.txt", 2, "\t") == ("小狗", "猫")
    with pytest.raises(DataError, match="names 2 classes, the model has 3"):
        read_labels(tmp_path / "labels.txt", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1", "no mapping with PreProcess"),
        ("a: [", "not valid YAML"),
        ("PreProcess: {}", "no PreProcess.transform_ops"),
        ("PostProcess: {MultiLabelThreshOutput: {threshold: 0.5}}", "PostProcess has MultiLabelThreshOutput"),
        ("PostProcess: {Topk: {label_list: 5}}", "label_list is no list"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "inference.yml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_config(tmp_path / "inference.yml")


def test_a_class_map_counts_by_its_name_beside_the_file(tmp_path: Path) -> None:
    text = """
PreProcess: {transform_ops: [{ResizeImage: {size: 64}}, {NormalizeImage: {}}]}
PostProcess: {Topk: {class_id_map_file: ..\\\\utils/names.txt, delimiter: ","}}
"""
    (tmp_path / "inference_cls.yaml").write_text(text, encoding="utf-8")
    found = read_config(tmp_path / "inference_cls.yaml")
    assert (found.labels, found.class_map) == (None, ClassMap(tmp_path / "names.txt", ","))
    (tmp_path / "names.txt").write_bytes("1,b, c\r\n0,小狗\r\n\r\n2,\r\n".encode("gbk"))
    assert read_class_map(ClassMap(tmp_path / "names.txt", ","), 3) == ("小狗", "b, c", "class 2")


@pytest.mark.parametrize("setting", ["class_id_map_file: [1]", "class_id_map_file: a, delimiter: 5"])
def test_a_class_map_that_is_no_text_is_refused(setting: str, tmp_path: Path) -> None:
    text = "PreProcess: {transform_ops: [{ResizeImage: {size: 64}}, {NormalizeImage: {}}]}\n"
    text += f"PostProcess: {{Topk: {{{setting}}}}}\n"
    (tmp_path / "inference.yml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"PostProcess\.Topk\.\w+ is no text"):
        read_config(tmp_path / "inference.yml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.yml cannot be read"):
        read_config(tmp_path / "no.yml")
