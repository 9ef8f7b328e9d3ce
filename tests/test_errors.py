"""Exit codes, hints, and what counts as an address elsewhere."""

from __future__ import annotations

import pytest

from ghostclas import errors
from ghostclas.errors import GhostclasError, UsageError, did_you_mean, refuse_url


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
