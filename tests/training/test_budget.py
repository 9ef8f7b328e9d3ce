"""What of a time budget the end of a run needs."""

import pytest

from ghostclas.errors import ExportError
from ghostclas.spec import ModelSpec, PreprocessSpec, ResizeSpec
from ghostclas.training import budget

SPEC = ModelSpec(name="ghostnet_x0_2", width=0.2, num_classes=3)
PREPROCESS = PreprocessSpec(resize=ResizeSpec(short_side=32), crop=32)


def test_the_export_of_such_a_network_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 107.5])
    monkeypatch.setattr(budget, "monotonic", lambda: next(clock))
    assert budget.seconds_to_finish(SPEC, PREPROCESS, budget=300) == 7.5 + budget.REPORT_SECONDS


def test_a_network_that_cannot_be_exported_is_left_to_the_end_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ExportError("no")

    monkeypatch.setattr(budget, "export_bundle", refuse)
    assert budget.seconds_to_finish(SPEC, PREPROCESS, budget=300) >= budget.REPORT_SECONDS


def test_a_budget_too_short_to_time_the_export_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "export_bundle", lambda *_, **__: pytest.fail("it was exported"))
    assert budget.seconds_to_finish(SPEC, PREPROCESS, budget=30) == 15
