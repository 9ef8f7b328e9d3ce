"""Grad-CAM: equal to hooks in torch, on the right place of the photo, and it marks what matters."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ghostclas
from ghostclas.bundle import Bundle, default_bundle_path
from ghostclas.errors import ImageError, UsageError
from ghostclas.imaging import fit, preprocess
from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.prediction import Classifier
from ghostclas.prediction.explanation import Explainer, seen_part
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.hooks import hooked_heat
from tests.images import encode, exif, photo
from tests.real_data import CLOTHING, needs_clothing

SPECS = {
    "one resampling": PreprocessSpec(resize=ResizeSpec(short_side=72), crop=64),
    "whole size": PreprocessSpec(
        resize=ResizeSpec(short_side=72, antialias=False, library="opencv"), crop=64
    ),
    "stretched": PreprocessSpec(
        resize=ResizeSpec(short_side=64, antialias=False, library="opencv", size=(96, 64)), crop=64
    ),
}


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(Bundle.open(default_bundle_path()))


@pytest.mark.parametrize("name", ["default", "small"])
def test_the_heat_is_that_of_hooks_in_torch(name: str, small_bundle: Bundle) -> None:
    bundle = Bundle.open(default_bundle_path()) if name == "default" else small_bundle
    network = create_model(bundle.spec).eval()
    load_weights(network, bundle.path)
    explainer = Explainer(bundle)
    marked = 0
    for seed in range(3):
        source = photo(150, 120, seed)
        pixels = preprocess(source, bundle.preprocess)
        for label in (None, seed):
            explanation = explainer.explain(source, label)
            wanted = hooked_heat(network, pixels, bundle.preprocess, explanation.label.index)
            np.testing.assert_allclose(explanation.heat, wanted, atol=1e-3, rtol=1e-3)
            most = wanted.max()
            marked += most > 0
            if most:
                np.testing.assert_allclose(
                    explanation.heat / explanation.heat.max(), wanted / most, atol=1e-3
                )
    assert marked >= 3


def test_the_classifier_explains_its_own_answer(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(photo(300, 200), "JPEG"))
    with ghostclas.load(threads=1) as classifier:
        explanation = classifier.explain(path)
        answer = classifier(path)
        assert explanation.file == answer.file == str(path)
        assert explanation.label.label == answer.label
        assert explanation.label.score == pytest.approx(answer.score, abs=1e-4)
        other = classifier.explain(path, answer.top[1].label)
        assert other.label.index == answer.top[1].index
        assert classifier.explain(path, answer.top[1].index).as_dict() == other.as_dict()
        with pytest.raises(UsageError, match="did you mean"):
            classifier.explain(path, f"{answer.label}s")
        with pytest.raises(UsageError, match="none of the 200"):
            classifier.explain(path, 200)
        with pytest.raises(ImageError, match="does not exist"):
            classifier.explain(tmp_path / "none.jpg")


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("size", [(300, 200), (200, 301), (40, 40)])
def test_the_part_that_is_seen_is_what_the_network_gets(name: str, size: tuple[int, int]) -> None:
    spec = SPECS[name]
    # Red grows to the right and green downwards, so the pixels tell where they were.
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    ramp = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    pixels = fit(Image.fromarray(ramp), spec)
    left, top, right, bottom = seen_part(*size, spec)
    found = (pixels[:, 0, 0].mean(), pixels[0, :, 1].mean(), pixels[:, -1, 0].mean(), pixels[-1, :, 1].mean())
    np.testing.assert_allclose(np.array(found) / 255, (left, top, right, bottom), atol=0.02)


def test_the_overlay_is_upright_has_its_colours_inside_and_is_dark_outside(explainer: Explainer) -> None:
    grey = Image.new("RGB", (400, 200), (128, 128, 128))
    grey.paste(Image.fromarray(photo(100, 100)), (150, 50))
    turned = encode(grey.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif(6))
    explanation = explainer.explain(turned)
    overlay = np.asarray(explanation.overlay(), np.int64)
    assert overlay.shape == (200, 400, 3)
    assert explanation.seen == (0.25, 0, 0.75, 1)
    assert (overlay[:, :95] < 70).all(), "what is not seen is dark"
    assert (overlay[:, 305:] < 70).all()
    marked = explanation.marked
    assert marked is not None
    centre = overlay[round(100 * (marked[1] + marked[3])), round(200 * (marked[0] + marked[2]))]
    assert centre[0] > centre[2], "hot places are yellow or red"
    assert Image.open(io.BytesIO(explanation.encoded("PNG", 100))).size == (100, 50)


def test_threads_share_an_explainer() -> None:
    explainer = Explainer(Bundle.open(default_bundle_path()))
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(explainer.explain(photo(150, 120)).heat))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for heat in found[1:]:
        np.testing.assert_array_equal(heat, found[0])
    explainer.close()
    np.testing.assert_array_equal(explainer.explain(photo(150, 120)).heat, found[0])


@needs_clothing
def test_covering_the_marked_places_lowers_the_score_more_than_covering_others() -> None:
    """The four hottest of the 16 places against the four coldest, on the photos that the model is sure of."""
    files = [
        file for folder in ("shoes", "hat") for file in sorted((CLOTHING / "val" / folder).glob("*.jpg"))
    ]
    with Classifier.load(threads=1) as classifier:
        hot, cold = [], []
        for file in files[:24]:
            pixels = preprocess(file, classifier.preprocess)
            explanation = classifier.explain(pixels)
            places = np.argsort(explanation.heat, axis=None)
            scores = [explanation.label.score]
            for chosen in (places[-4:], places[:4]):
                covered = pixels.copy()
                for row, column in zip(*np.divmod(chosen, explanation.heat.shape[1]), strict=True):
                    covered[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = 124
                again = classifier.explain(covered, explanation.label.index)
                scores.append(again.label.score)
            hot.append(scores[0] - scores[1])
            cold.append(scores[0] - scores[2])
    assert np.mean(hot) > 2 * max(float(np.mean(cold)), 0.01)
    assert np.mean(np.array(hot) > np.array(cold)) > 0.7
