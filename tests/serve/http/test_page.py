"""The page, in headless Chromium: every way in, both languages, keyboard, phone, and what fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostclas.serve.security import Security
from tests.browser import CHROMIUM, running_chromium
from tests.serve.http.servers import HttpServer, best, http_server
from tests.serve.http.uploads import text
from tests.serve.served import builtin_model, jpeg

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
SHOW = """([kind, base64]) => {
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "photo.jpg", {type: "image/jpeg"}));
    const how = {bubbles: true, cancelable: true};
    const event = kind === "paste"
        ? new ClipboardEvent("paste", {...how, clipboardData: transfer})
        : new DragEvent(kind, {...how, dataTransfer: transfer});
    document.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from running_chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(builtin_model("one"), builtin_model("two"), body_bytes=500_000) as running:
        yield running


class Visit:
    """A page of its own, with what it asked for and complained about."""

    def __init__(self, browser: Any, server: HttpServer, **options: Any) -> None:
        self.context = browser.new_context(reduced_motion="reduce", **options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        # From now on the browser asks us for files: switched on by a test, that may come after its key.
        self.page.on("filechooser", lambda chooser: None)
        self.page.goto(server.url)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def choose(self, *files: tuple[str, str, bytes]) -> None:
        keys = ("name", "mimeType", "buffer")
        self.page.set_input_files("#file", [dict(zip(keys, file, strict=True)) for file in files])

    def labels(self) -> list[str]:
        self.page.wait_for_selector("#answer li")
        found: list[str] = self.page.locator("#answer .label").all_text_contents()
        return found

    def note(self) -> str:
        self.page.wait_for_selector("#answer .note")
        return str(self.page.inner_text("#answer .note"))


@pytest.fixture
def visit(browser: Any, server: HttpServer) -> Iterator[Visit]:
    visit = Visit(browser, server, locale="en-GB")
    yield visit
    visit.context.close()
    assert visit.complaints == []
    foreign = [url for url in visit.requests if not url.startswith((server.url, "blob:"))]
    assert foreign == []


def labels_of(seed: int) -> list[str]:
    return [label for label, _ in best(seed)]


def test_a_chosen_photo_gets_its_labels_as_bars(visit: Visit) -> None:
    visit.choose(("cat.jpg", "image/jpeg", jpeg(1)))
    assert visit.labels() == labels_of(1)
    widths = [
        bar.bounding_box()["width"] / bar.locator("xpath=..").bounding_box()["width"]
        for bar in visit.page.locator("#answer .bar i").all()
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(best(1)[0][1], abs=0.02)
    assert re.fullmatch(r"[\d.]+ ms", visit.page.inner_text("#round"))
    assert re.fullmatch(r"[\d.]+ ms", visit.page.inner_text("#inside"))
    assert visit.page.inner_text("#queue") == "0 photos"
    assert visit.page.inner_text("#state") == "Ready"
    assert visit.page.get_attribute("#shown", "alt") == "cat.jpg"


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_photo_may_be_pasted_or_dropped(visit: Visit, way: str) -> None:
    if way == "drop":
        visit.page.evaluate(SHOW, ["dragenter", text(jpeg(2))])
        assert visit.page.is_visible("#drop")
    visit.page.evaluate(SHOW, [way, text(jpeg(2))])
    assert visit.labels() == labels_of(2)
    assert visit.page.is_hidden("#drop")


def test_a_photo_may_be_taken(visit: Visit) -> None:
    visit.page.click("#shoot")
    visit.page.wait_for_selector("#camera[open]")
    while not visit.page.evaluate("() => document.getElementById('video').videoWidth"):
        pass
    visit.page.click("#shutter")
    assert len(visit.labels()) == 5
    assert visit.page.is_hidden("#camera")


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    where = "() => document.activeElement.id || document.activeElement.className"
    reached = []
    visit.page.wait_for_selector("#model")
    while "shoot" not in reached:
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate(where))
    assert [name for name in reached if name] == ["skip", "model", "choose", "shoot"]
    visit.page.focus("#choose")
    with visit.page.expect_file_chooser() as chooser:
        visit.page.keyboard.press("Enter")
    chooser.value.set_files([{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": jpeg(3)}])
    assert visit.labels() == labels_of(3)


def test_several_photos_are_kept_and_shown_again(visit: Visit) -> None:
    visit.choose(("1.jpg", "image/jpeg", jpeg(1)), ("2.jpg", "image/jpeg", jpeg(2)))
    assert visit.labels() == labels_of(1)
    second = visit.page.locator("#strip button").nth(1)
    second.locator("visible=true").wait_for()
    second.click()
    assert visit.labels() == labels_of(2)
    assert visit.page.get_attribute("#strip button:nth-child(2)", "aria-pressed") == "true"


def test_another_model_answers_when_it_is_chosen(visit: Visit, server: HttpServer) -> None:
    visit.choose(("1.jpg", "image/jpeg", jpeg(1)))
    visit.labels()
    with visit.page.expect_response(re.compile("model=two")) as answered:
        visit.page.select_option("#model", "two")
    assert answered.value.header_value("ghostclas-model") == "two"


def test_the_page_speaks_chinese_and_remembers_it(browser: Any, server: HttpServer) -> None:
    visit = Visit(browser, server, locale="zh-CN")
    assert visit.page.inner_text("#choose") == "选择照片"
    assert visit.page.get_attribute("html", "lang") == "zh-CN"
    visit.choose(("a.txt", "text/plain", b"no image"))
    assert "文件不是图片。" in visit.note()
    visit.page.click("[data-language=en]")
    assert "This photo has no labels" in visit.note()
    visit.page.reload()
    assert visit.page.inner_text("#choose") == "Choose photos"
    visit.context.close()
    assert visit.complaints == []


def test_both_languages_have_the_same_words() -> None:
    script = (Path(__file__).parents[3] / "src/ghostclas/serve/http/page/app.js").read_text(encoding="utf-8")
    english, chinese = re.findall(r"^  (?:en|zh): \{\n(.*?)^  \},", script, re.MULTILINE | re.DOTALL)
    keys = [re.findall(r"(\w+): (?=[\"\w({])", text.partition("codes")[0]) for text in (english, chinese)]
    assert keys[0] == keys[1]
    assert len(keys[0]) > 30


def test_it_fits_a_phone(browser: Any, server: HttpServer) -> None:
    visit = Visit(browser, server, **PHONE)
    visit.choose(("1.jpg", "image/jpeg", jpeg(1)), ("2.jpg", "image/jpeg", jpeg(2)))
    visit.labels()
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") == 360
    for button in ("#choose", "#shoot"):
        assert visit.page.locator(button).bounding_box()["height"] >= 44
    with visit.page.expect_file_chooser() as chooser:
        visit.page.tap("#shoot")
    assert chooser.value.element.get_attribute("capture") == "environment"
    visit.context.close()
    assert visit.complaints == []


def test_a_photo_that_cannot_be_read_or_sent_says_so(visit: Visit) -> None:
    visit.choose(("a.jpg", "image/jpeg", b"no image"))
    assert "not an image" in visit.note()
    assert visit.page.is_visible("#unseen")
    visit.choose(("b.jpg", "image/jpeg", bytes(500_001)))
    assert "0.5 MiB" in visit.note()
    visit.choose(("c.jpg", "image/jpeg", jpeg(1)))
    assert visit.labels() == labels_of(1)


def test_a_server_with_a_token_asks_for_it(browser: Any) -> None:
    token = "0123456789abcdef"
    with http_server(security=Security(token=token)) as server:
        visit = Visit(browser, server)
        visit.page.wait_for_selector("#door[open]")
        visit.page.fill("#token", token)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#door", state="hidden")
        visit.choose(("1.jpg", "image/jpeg", jpeg(1)))
        assert visit.labels() == labels_of(1)
        visit.context.close()


def test_a_server_that_is_gone_is_said(browser: Any) -> None:
    with http_server() as server:
        visit = Visit(browser, server, locale="en-GB")
        visit.page.wait_for_selector("#dot.ready")
    visit.choose(("1.jpg", "image/jpeg", jpeg(1)))
    assert "cannot be reached" in visit.note()
    visit.context.close()
