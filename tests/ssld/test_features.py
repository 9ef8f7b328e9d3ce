"""Features are matched as OpenCV matches them, and lead to the picture that they are of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ghostclas.errors import ImageError
from ghostclas.ssld.features import RATIO, UNSEEN, Gallery, Look, Looker, matches
from tests.ssld.pictures import encoded

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
    """A picture of a few soft rectangles, in which there is something to see everywhere."""
    draw = np.random.default_rng(seed)
    pixels = np.full((96, 96, 3), 90.0)
    for _ in range(25):
        top, left, height, width = draw.integers(0, 80), draw.integers(0, 80), *draw.integers(6, 40, 2)
        pixels[top : top + height, left : left + width] = draw.integers(0, 256, 3)
    return Image.fromarray(pixels.astype(np.uint8))


def gallery(looks: list[Look]) -> Gallery:
    counted: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        built = Gallery(looks.__getitem__, len(looks), executor, counted.append)
    assert counted == list(range(1, len(looks) + 1))
    return built


def test_half_a_picture_leads_to_the_whole() -> None:
    look = Looker()
    wholes = [shapes(seed) for seed in range(30)]
    halves = [look(encoded(whole.crop((10, 20, 78, 88)), quality=60)) for whole in wholes]
    among = gallery([look(encoded(whole)) for whole in wholes])
    assert among.nearest(halves, 1) == [[number] for number in range(30)]
    assert all(len(found) == 3 and number in found for number, found in enumerate(among.nearest(halves, 3)))
    assert sorted(among.nearest(halves[:1], 99)[0]) == list(range(30))


def test_what_cannot_be_seen_or_read_is_like_nothing() -> None:
    look = Looker()
    blank, one = look(encoded(Image.new("RGB", (64, 64), "grey"))), look(encoded(shapes(0)))
    assert blank.descriptors.shape == UNSEEN.descriptors.shape == (0, 128)
    assert gallery([]).nearest([one], 5) == [[]]
    among = gallery([blank, one, UNSEEN])
    assert among.nearest([blank, one, UNSEEN], 1) == [[], [1], []]
    assert among.nearest([one], 0) == [[]]
    with pytest.raises(ImageError):
        look(b"no picture")
