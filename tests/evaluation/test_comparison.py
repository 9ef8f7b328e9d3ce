"""Comparison of two models on the same images, and McNemar's exact test."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostclas.data import open_source
from ghostclas.errors import BundleError
from ghostclas.evaluation import Comparison, compare, mcnemar, open_both
from ghostclas.evaluation.report import names, verdict
from ghostclas.prediction import Classifier
from tests.colours import THREE, colour_bundle, colour_folder


def compared(
    tmp_path: Path, says_a: dict[str, str], says_b: dict[str, str], photos: dict[str, list[str]]
) -> Comparison:
    folder = colour_folder(tmp_path / "photos", photos)
    (folder / "red" / "broken.png").write_bytes(b"no image")
    with (
        Classifier.load(colour_bundle(tmp_path / "a", says=says_a), threads=1) as a,
        Classifier.load(colour_bundle(tmp_path / "b", says=says_b), threads=1) as b,
    ):
        return compare(a, b, open_source(folder))


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    # A mixes up red and green, B mixes up green and blue.
    return compared(
        tmp_path,
        {"red": "green", "green": "red"},
        {"green": "blue", "blue": "green"},
        {"red": ["red", "red", "red", "blue"], "green": ["green", "blue"], "blue": ["blue", "green"]},
    )


def test_every_image_is_in_one_group(comparison: Comparison) -> None:
    def keys(group: str) -> list[str]:
        return [comparison.key(i) for i in getattr(comparison, group).tolist()]

    assert keys("both") == []
    assert keys("only_a") == ["blue/0.png"]
    assert keys("only_b") == ["blue/1.png", "green/1.png", "red/0.png", "red/1.png", "red/2.png"]
    assert keys("neither") == ["green/0.png", "red/3.png"]
    assert comparison.images == 8
    assert comparison.top1 == (12.5, 62.5)


def test_models_have_the_names_of_their_runs(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"]})
    for run in ("long", "short", "other/long"):
        colour_bundle(tmp_path / run / "bundle")
    with open_both(tmp_path / "long", tmp_path / "short" / "bundle", threads=1) as (a, b):
        assert a.bundle.name == b.bundle.name
        result = compare(a, b, open_source(folder))
        again = compare(a, a, open_source(folder))
    assert names(result) == ("long", "short")
    assert [result.as_dict()[side]["name"] for side in "ab"] == ["long", "short"]
    assert names(again) == (f"long ({again.a.through})",) * 2
    with open_both(tmp_path / "long", tmp_path / "other" / "long", threads=1) as (a, b):
        assert names(compare(a, b, open_source(folder))) == (f"{tmp_path.name}/long", "other/long")


def test_agreement_counts_equal_answers_right_or_wrong(tmp_path: Path) -> None:
    same = {"red": "green", "green": "red"}
    result = compared(tmp_path, same, same, {"red": ["red", "blue"], "green": ["blue"], "blue": ["blue"]})
    assert (result.agreeing, result.agreement) == (4, 100.0)
    assert (len(result.both), len(result.neither)) == (1, 3)
    assert result.p_value == 1.0
    assert verdict(result) == "Both are right on exactly the same images."


def test_answers_that_differ_do_not_agree(comparison: Comparison) -> None:
    # A says red, green, blue to green, red, blue; B says red, blue, green: never the same.
    assert comparison.agreeing == 0


def test_classes_say_how_they_changed(comparison: Comparison) -> None:
    changes = {c.name: (c.support, c.correct_a, c.correct_b, c.delta) for c in comparison.per_class}
    assert changes == {"red": (4, 0, 3, 75.0), "green": (2, 0, 1, 50.0), "blue": (2, 1, 1, 0.0)}


def test_json_names_the_images(comparison: Comparison) -> None:
    figures = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    assert figures["only_a_right"] == ["blue/0.png"]
    assert (figures["both_right"], len(figures["only_b_right"]), figures["neither_right"]) == (0, 5, 2)
    assert figures["mcnemar_p"] == pytest.approx(14 / 64)
    assert [image["key"] for image in figures["bad"]] == ["red/broken.png"]
    assert (figures["a"]["model"], figures["b"]["model"]) == ("a", "b")


def test_verdict_does_not_take_chance_for_progress(comparison: Comparison) -> None:
    assert verdict(comparison) == (
        "From A to B, 5 images gained and 1 lost: too few to tell from chance (p = 0.219)."
    )


def test_verdict_on_a_clear_difference(tmp_path: Path) -> None:
    result = compared(tmp_path, {}, {"red": "green", "green": "red"}, {"red": ["red"] * 8, "green": ["blue"]})
    assert verdict(result).endswith("A is better, and chance is an unlikely reason (p = 0.008).")


@pytest.mark.parametrize(
    ("other", "details"),
    [
        (("red", "green", "yellow"), ["'blue' (class 2)", "'yellow' (class 2)"]),
        (("green", "red", "blue"), ["another order: class 0 is 'red' in one, 'green' in the other"]),
        (("red", "green"), ["'blue' (class 2)"]),
    ],
)
def test_models_of_different_classes_are_refused(
    other: tuple[str, ...], details: list[str], tmp_path: Path
) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"], "green": ["green"]})
    with (
        Classifier.load(colour_bundle(tmp_path / "one" / "bundle", THREE), threads=1) as a,
        Classifier.load(colour_bundle(tmp_path / "two" / "bundle", other), threads=1) as b,
        pytest.raises(BundleError, match=r"^one and two have different classes") as failure,
    ):
        compare(a, b, open_source(folder))
    for detail in details:
        assert detail in str(failure.value)


def test_progress_covers_both_models(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"], "green": ["green"]})
    calls: list[tuple[int, int | None]] = []
    with Classifier.load(colour_bundle(tmp_path / "a"), threads=1) as model:
        compare(model, model, open_source(folder), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# ------------------------------------------------------------------ the exact test


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (1, 5, 14 / 64),
        (5, 1, 14 / 64),
        (0, 1, 1.0),
        (0, 10, 2 / 1024),
        (2, 8, 112 / 1024),
    ],
)
def test_mcnemar_of_a_small_case(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p, rel=1e-15)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_twice_the_binomial_tail(only_a: int, only_b: int) -> None:
    count = only_a + only_b
    tail = sum(comb(count, i) for i in range(min(only_a, only_b) + 1)) / 2**count
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_large_counts_neither_overflows_nor_guesses() -> None:
    assert mcnemar(9000, 9000) == 1.0
    assert mcnemar(0, 30000) == 0.0
    # The normal approximation with continuity correction is good to a few per cent here.
    assert mcnemar(4900, 5100) == pytest.approx(0.0466, rel=0.02)
