"""The gallery: every photo in its group, safe with any name, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.prediction import Classifier, Gallery, check_gallery
from ghostclas.prediction.explanation import Explainer
from ghostclas.spec import Label, Prediction, PredictionError, PreprocessSpec, ResizeSpec
from tests.browser import running_chromium
from tests.colours import SIDE, colour_bundle, colour_folder, colour_photo
from tests.images import write_photo

HOSTILE = '<img src=x onerror="document.title=1">&amp;\u2028.png'
SPEC = PreprocessSpec(resize=ResizeSpec(short_side=SIDE), crop=SIDE)


def answer(label: str, score: float, file: str = "a.jpg", *, unknown: bool = False) -> Prediction:
    top = (Label(index=0, label=label, score=score), Label(index=1, label="other", score=1 - score))
    return Prediction(file=file, top=top, unknown=unknown)


def pixels(red: int = 255) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), (red, 0, 0), np.uint8)


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r"const data = (.*);$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_photos_are_grouped_by_label_the_least_certain_first(tmp_path: Path) -> None:
    with Gallery(tmp_path / "out", model="shop") as gallery:
        for number, (label, score, unknown) in enumerate(
            [("cat", 0.9, False), ("dog", 0.8, False), ("cat", 0.6, False), ("cat", 0.7, True)]
        ):
            gallery.keep(number, pixels())
            gallery.add(tmp_path / f"{number}.jpg", answer(label, score, unknown=unknown))
        error = PredictionError(code="truncated", message="it is cut short")
        gallery.add(tmp_path / "bad.jpg", Prediction(file="bad.jpg", error=error))
        assert not (tmp_path / "out").exists(), "it appears when it is whole"
    data = data_of(tmp_path / "out" / "index.html")
    groups = [
        (group["kind"], group["name"], [photo.get("picture", "") for photo in group["photos"]])
        for group in data["groups"]
    ]
    assert groups == [
        ("label", "cat", ["thumbnails/000/000002.jpg", "thumbnails/000/000000.jpg"]),
        ("label", "dog", ["thumbnails/000/000001.jpg"]),
        ("unknown", "", ["thumbnails/000/000003.jpg"]),
        ("bad", "", [""]),
    ]
    assert data["groups"][3]["photos"][0]["error"] == "it is cut short"
    best, score = data["groups"][0]["photos"][0]["top"][0]
    assert (data["names"][best], score) == ("cat", 0.6)
    assert json.loads((tmp_path / "out" / "gallery.json").read_text(encoding="utf-8")) == {
        "model": "shop",
        "photos": 5,
        "labels": {"cat": 2, "dog": 1},
        "unknown": 1,
        "errors": 1,
    }
    assert len(names(tmp_path / "out")) == 4 + 2


def test_thumbnails_are_what_the_network_saw(tmp_path: Path) -> None:
    photos = [colour_photo(tmp_path / f"{name}.png", name) for name in ("red", "blue")]
    with (
        Gallery(tmp_path / "out", model="colours") as gallery,
        Classifier.load(colour_bundle(tmp_path / "colours"), threads=1) as classifier,
    ):
        for path, prediction in zip(photos, classifier.stream(photos, watch=gallery.keep), strict=True):
            gallery.add(path, prediction)
    for group in data_of(tmp_path / "out" / "index.html")["groups"]:
        with Image.open(tmp_path / "out" / group["photos"][0]["picture"]) as image:
            assert image.size == (SIDE, SIDE)
            middle = np.asarray(image)[SIDE // 2, SIDE // 2]
        assert ("red", "green", "blue")[int(np.argmax(middle))] == group["name"]


def test_a_photo_that_was_labelled_earlier_is_read_again(tmp_path: Path) -> None:
    there = colour_photo(tmp_path / "red.png", "red")
    with Gallery(tmp_path / "out", model="m") as gallery:
        gallery.add(tmp_path / "new.png", answer("cat", 0.9))
        gallery.keep(0, pixels())
        gallery.add_labelled(
            [(there, answer("cat", 0.5)), (tmp_path / "gone.png", answer("cat", 0.1))], SPEC, threads=2
        )
    (group,) = data_of(tmp_path / "out" / "index.html")["groups"]
    pictures = [photo.get("picture", "").rpartition("/")[2] for photo in group["photos"]]
    assert pictures == ["", "000001.jpg", "000000.jpg"]


def test_links_lead_to_the_photos_from_wherever_the_page_is(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path / "sub") + b"/100% #1?\xff.png")
    with Gallery(tmp_path / "a" / "b" / "out", model="m") as gallery:
        gallery.add(tmp_path / "javascript:alert(1)", answer("cat", 0.9))
        gallery.add(Path(odd), answer("cat", 0.8))
        gallery.add(tmp_path / "moved.jpg", answer("cat", 0.7))
        gallery.moved = {tmp_path / "moved.jpg": tmp_path / "cat" / "moved.jpg"}
    (group,) = data_of(tmp_path / "a" / "b" / "out" / "index.html")["groups"]
    links = [photo["link"] for photo in group["photos"]]
    assert links[0] == "../../../cat/moved.jpg"
    assert unquote(links[1], errors="surrogateescape") == os.path.relpath(odd, tmp_path / "a" / "b" / "out")
    assert links[2] == "../../../javascript%3Aalert%281%29"
    assert not {"#", "?", " "} & set("".join(links))


def test_an_earlier_gallery_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    for number in range(2):
        with Gallery(tmp_path / "out", model=f"model {number}") as gallery:
            for place in range(2 - number):
                gallery.keep(place, pixels())
                gallery.add(tmp_path / "a.jpg", answer("cat", 0.9))
    assert "model 1" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert names(tmp_path / "out") == ["gallery.json", "index.html", "thumbnails/000/000000.jpg"]
    (tmp_path / "out" / "thumbnails" / "mine.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="holds other files than a gallery"):
        check_gallery(tmp_path / "out")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"photo")
    with pytest.raises(UsageError, match=r"such as 'a.jpg'"), Gallery(tmp_path / "photos", model="m"):
        pass
    with pytest.raises(UsageError, match="is a file"):
        check_gallery(tmp_path / "photos" / "a.jpg")


def test_what_came_into_the_folder_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def interfered() -> None:
        with Gallery(tmp_path / "out", model="m") as gallery:
            gallery.add(tmp_path / "a.jpg", answer("cat", 0.9))
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "mine.jpg").write_bytes(b"precious")

    with pytest.raises(UsageError, match=r"such as 'mine\.jpg'"):
        interfered()
    assert (tmp_path / "out" / "mine.jpg").read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "no space")])
def test_an_error_leaves_the_earlier_gallery(tmp_path: Path, error: BaseException) -> None:
    with Gallery(tmp_path / "out", model="first") as gallery:
        gallery.add(tmp_path / "a.jpg", answer("cat", 0.9))
    before = (tmp_path / "out" / "index.html").read_bytes()

    def fail(gallery: Gallery) -> None:
        with gallery:
            gallery.keep(0, pixels())
            raise error

    with pytest.raises(type(error)):
        fail(Gallery(tmp_path / "out", model="second"))
    assert (tmp_path / "out" / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing half-written is left"


def test_the_least_certain_photos_show_what_spoke_for_their_label(
    tmp_path: Path, small_bundle: Bundle
) -> None:
    photos = [write_photo(tmp_path / f"{number}.jpg", seed=number) for number in range(5)]
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    explainer = Explainer(small_bundle)
    with (
        Gallery(tmp_path / "out", model="small") as gallery,
        Classifier.load(small_bundle, engine="onnxruntime", threads=1) as classifier,
    ):
        answers = list(classifier.stream([*photos, tmp_path / "bad.jpg"], watch=gallery.keep))
        for prediction in answers:
            gallery.add(Path(prediction.file or ""), prediction)
        uncertain = [a.file or "" for a in sorted(answers[:5], key=lambda a: a.score or 0)][:3]
        wanted = {file: explainer.explain(file).heat for file in uncertain[1:]}
        Path(uncertain[0]).unlink()
        assert gallery.explain(explainer, 3, threads=2) == 2, "one is gone"
    page = tmp_path / "out" / "index.html"
    shown = {photo["file"]: photo for group in data_of(page)["groups"] for photo in group["photos"]}
    assert {file for file, photo in shown.items() if "heat" in photo} == set(wanted)
    for file, heat in wanted.items():
        digits = [[int(digit, 16) for digit in row] for row in shown[file]["heat"]]
        assert np.max(digits) == 15
        np.testing.assert_allclose(digits, 15 * heat / heat.max(), atol=0.51)
    assert "the 2 least certain photos have it" in page.read_text(encoding="utf-8")


def test_a_network_that_cannot_be_explained_has_a_gallery_all_the_same(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "colours")
    photo = colour_photo(tmp_path / "red.png", "red")
    with Gallery(tmp_path / "out", model="colours") as gallery:
        gallery.keep(0, pixels())
        gallery.add(photo, answer("red", 0.9))
        assert gallery.explain(Explainer(bundle)) == 0
    assert "Why" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8").split("<script>")[0]


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from running_chromium()


def test_the_page_filters_and_runs_nothing_that_a_name_holds(tmp_path: Path, browser: Any) -> None:
    label = "</script><script>document.title = 2</script>"
    colour_folder(tmp_path, {"photos": ["red"]})
    with Gallery(tmp_path / "out", model="<b>m</b>") as gallery:
        for number in range(30):
            gallery.keep(number, pixels())
            file = HOSTILE if number == 0 else f"{number}.png"
            gallery.add(tmp_path / "photos" / "0.png", answer(label, 0.3 + number / 50, file))
        gallery._heat = {0: ["0f", "7a"]}
        error = PredictionError(code="truncated", message="<i>cut</i> short")
        gallery.add(tmp_path / HOSTILE, Prediction(file=HOSTILE, error=error))
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "out" / "index.html").as_uri())
    assert page.title() == "31 photos by <b>m</b>"
    assert page.locator("h2").all_text_contents() == [f"{label} 30", "Could not be read 1"]
    first = page.locator("figure").first
    assert first.locator(".key").inner_text() == HOSTILE
    first.locator("img").evaluate("image => image.decode()")
    heat = page.locator(".heat")
    assert heat.count() == 1
    assert heat.evaluate("canvas => getComputedStyle(canvas).opacity") == "0"
    yellow = "canvas => [...canvas.getContext('2d').getImageData(111, 0, 1, 1).data].map(Math.round)"
    red, green, blue, alpha = heat.evaluate(yellow)
    assert red > green > blue
    assert 150 < alpha < 175
    page.locator("#why").check()
    from playwright.sync_api import expect

    expect(heat).to_have_css("opacity", "1")
    assert first.locator("a").evaluate("link => link.href") == (tmp_path / "photos" / "0.png").as_uri()
    assert page.locator("figure").count() == 24 + 1
    page.get_by_role("button", name="Show 6 more of 6").click()
    assert page.locator("figure").count() == 30 + 1
    page.locator("#least").fill("85")
    page.locator("#shown", has_text="2 shown").wait_for()
    assert page.locator("figure:visible b").all_inner_texts() == ["86\u00a0%", "88\u00a0%"]
    page.locator("#least").fill("0")
    page.locator("#words").fill("ONERROR")
    page.locator("#shown", has_text="2 shown").wait_for()
    page.locator("#words").fill("nowhere")
    page.locator("#none").wait_for(state="visible")
    assert complaints == []
    page.close()
