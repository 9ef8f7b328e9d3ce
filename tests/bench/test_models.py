"""The models of a measurement; bundles are made only if needed."""

from __future__ import annotations

import pytest

from ghostclas.bench.models import open_models
from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError


def test_models_are_made_only_where_they_have_to_be(small_bundle: Bundle) -> None:
    asked: list[tuple[str, int | None]] = []

    def make(model: str, size: int | None) -> Bundle:
        asked.append((model, size))
        return small_bundle

    path = str(small_bundle.path)
    assert [name for name, _ in open_models([path, "default"], make=make)] == [
        "small",
        "ghostnet_x1_0_tiny200",
    ]
    assert asked == []
    open_models([path], [64], make=make)
    assert asked == []
    open_models([path], [96], make=make)
    assert asked == [(path, 96)]
    with pytest.raises(UsageError, match="two models have the name small"):
        open_models([path, f"{path}/../small"], make=make)
