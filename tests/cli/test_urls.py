"""No command downloads a URL; the error says that the user must download it."""

from __future__ import annotations

import re

import pytest

from ghostclas.cli import main

URL = "https://example.com/cats"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"predict {URL}.jpg", 3),
        (f"predict photo.jpg --model {URL}.zip", 2),
        (f"eval --data {URL}", 2),
        (f"data audit {URL}.zip", 2),
        (f"train --data {URL}", 2),
        (f"train --data . --recipe scratch --weights {URL}.pth --network ghostnet_x0_2", 2),
        (f"export --model {URL}.pdparams", 2),
        (f"verify {URL}", 2),
        (f"ssld --teacher default --labeled {URL} --unlabeled {URL}", 2),
    ],
)
def test_a_url_gets_the_hint_to_download_it(
    line: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert main(line.split()) == code
    shown = capsys.readouterr()
    assert re.search(rf"{re.escape(URL)}\S* is a URL: download it first", shown.out + shown.err)
