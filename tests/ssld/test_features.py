"""Features are matched as OpenCV matches them, and find their own image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ghostclas.errors import DataError, ImageError
from ghostclas.ssld.features import NO_FEATURES, RATIO, FeatureExtractor, FeatureStore, Gallery, matches
from tests.full_disk import largest_file
from tests.ssld.web_images import encoded

cv2 = pytest.importorskip("cv2", reason="needs ghostclas[ssld]")


def test_features_are_matched_as_opencv_does() -> None:
    draw = np.random.default_rng(0)
    one = draw.integers(0, 256, (60, 128), dtype=np.uint8)
    other = np.concatenate([draw.integers(0, 256, (40, 128), dtype=np.uint8), one[:20] // 2, one[50:] ^ 1])
    nearest, distinct = matches(one, other)
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(one, other, k=2)
    assert nearest.tolist() == [first.trainIdx for first, _ in pairs]
    assert distinct.tolist() == [first.distance < RATIO * second.distance for first, second in pairs]
    assert distinct[50:].all()
    assert not distinct[20:50].all()


def shapes(seed: int) -> Image.Image:
    """An image of a few soft rectangles, in which there is something to see everywhere."""
    draw = np.random.default_rng(seed)
    pixels = np.full((96, 96, 3), 90.0)
    for _ in range(25):
        top, left, height, width = draw.integers(0, 80), draw.integers(0, 80), *draw.integers(6, 40, 2)
        pixels[top : top + height, left : left + width] = draw.integers(0, 256, 3)
    return Image.fromarray(pixels.astype(np.uint8))


def test_half_an_image_leads_to_the_whole() -> None:
    extract = FeatureExtractor()
    wholes = [shapes(seed) for seed in range(30)]
    halves = [extract(encoded(whole.crop((10, 20, 78, 88)), quality=60)) for whole in wholes]
    among = Gallery([extract(encoded(whole)) for whole in wholes])
    assert among.nearest(halves, 1) == [[number] for number in range(30)]
    assert all(len(found) == 3 and number in found for number, found in enumerate(among.nearest(halves, 3)))
    assert sorted(among.nearest(halves[:1], 99)[0]) == list(range(30))


def test_an_image_without_features_is_like_no_other() -> None:
    extract = FeatureExtractor()
    blank, one = extract(encoded(Image.new("RGB", (64, 64), "grey"))), extract(encoded(shapes(0)))
    assert blank.descriptors.shape == NO_FEATURES.descriptors.shape == (0, 128)
    assert Gallery([]).nearest([one], 5) == [[]]
    among = Gallery([blank, one, NO_FEATURES])
    assert among.nearest([blank, one, NO_FEATURES], 1) == [[], [1], []]
    assert among.nearest([one], 0) == [[]]
    with pytest.raises(ImageError):
        extract(b"no image")


def test_a_store_returns_the_features_that_were_put_into_it() -> None:
    extract = FeatureExtractor()
    several = [extract(encoded(shapes(seed))) for seed in range(3)] + [NO_FEATURES]
    with FeatureStore() as store:
        for each in several:
            store.append(each)
        assert len(store) == 4
        for index in (2, 0, 3, 1, -1):
            for found, expected in zip(store[index], several[index], strict=True):
                np.testing.assert_array_equal(found, expected)
        with pytest.raises(IndexError):
            _ = store[4]


def test_a_full_disk_is_one_error_that_names_the_folder() -> None:
    features = FeatureExtractor()(encoded(shapes(0)))
    with (
        FeatureStore() as store,
        largest_file(2000),
        pytest.raises(DataError, match="cannot keep the features of images in"),
    ):
        store.append(features)
