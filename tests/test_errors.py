"""Exit codes, hints, and URLs."""

from __future__ import annotations

import pytest

from ghostclas import errors
from ghostclas.errors import GhostclasError, UsageError, as_url, command_line, did_you_mean, refuse_url


def test_every_kind_of_error_has_an_exit_code_of_its_own() -> None:
    kinds = GhostclasError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert sorted(codes) == list(range(2, 2 + len(kinds)))
    assert errors.ImageError("empty", "no bytes").exit_code == errors.DataError.exit_code


def test_a_hint_names_the_nearest_names_and_only_near_ones() -> None:
    assert did_you_mean("onxx", ["onnx", "openvino", "mnn"]) == "; did you mean 'onnx'?"
    assert did_you_mean("zzz", ["onnx", "openvino"]) == ""


@pytest.mark.parametrize("text", ["https://example.org/a.jpg", "s3:/bucket/a.jpg", "git+ssh://host/a"])
def test_a_url_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(UsageError, match="is a URL: download it first"):
        refuse_url(text)


@pytest.mark.parametrize("text", ["C:/photos/a.jpg", "photos/a.jpg", "/a:b/c.jpg", "a://"])
def test_paths_of_every_system_are_no_urls(text: str) -> None:
    refuse_url(text)


def test_a_hint_is_quoted_for_the_shell_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_ON_WINDOWS", False)
    assert command_line("ghostclas", "predict", "my photo.jpg") == "ghostclas predict 'my photo.jpg'"
    monkeypatch.setattr(errors, "_ON_WINDOWS", True)
    assert command_line("ghostclas", "predict", r"C:\my photo.jpg") == r'ghostclas predict "C:\my photo.jpg"'


@pytest.mark.parametrize("text", ["https://example.com/a.jpg", "https:/example.com/a.jpg"])
def test_a_url_is_written_as_its_author_did(text: str) -> None:
    assert as_url(text) == "https://example.com/a.jpg"
