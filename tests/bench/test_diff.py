"""Comparison of two measurements: the limits of a regression."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bench.diff import compare, other_machine, worse
from ghostclas.bench.report import write_report
from ghostclas.bench.results import Results
from ghostclas.cli import main
from tests.bench.made import MACHINE, QUIET, case, results


@pytest.mark.parametrize(
    ("after", "bad"),
    [
        (case(ms=4.0), set()),
        (case(ms=4.3), set()),  # 7.5 % slower is within 10 %
        (case(ms=3.0), set()),
        (case(top1=69.6), set()),
        (case(top1=69.0), {"top-1 on shop/val"}),
        (case(bytes=23_000_000), {"size"}),
        (case(images_per_second=None), {"photos/s"}),
        (case(peak_memory=170_000_000), {"peak memory"}),
    ],
)
def test_only_what_is_worse_by_more_than_the_tolerance_counts(after: object, bad: set[str]) -> None:
    changes = compare(results(case()), results(after))  # type: ignore[arg-type]
    assert {change.figure for change in worse(changes)} == bad


def test_a_slower_network_is_worse_at_every_setting() -> None:
    changes = worse(compare(results(case(ms=4.0)), results(case(ms=5.0))))
    assert len(changes) == 5
    assert all(change.figure.startswith("latency") for change in changes)
    assert changes[0].ratio == pytest.approx(1.25)


def test_faster_and_slower_by_the_same_factor_are_judged_alike() -> None:
    slower = compare(results(case(ms=4.0)), results(case(ms=4.6)))
    faster = compare(results(case(ms=4.6)), results(case(ms=4.0)))
    assert {c.verdict for c in slower if c.figure.startswith("latency")} == {"worse"}
    assert {c.verdict for c in faster if c.figure.startswith("latency")} == {"better"}


def test_noise_widens_the_tolerance() -> None:
    noisy = QUIET.model_copy(update={"difference": 0.4})
    assert worse(compare(results(case(ms=4.0)), results(case(ms=5.0), noise=noisy))) == []


def test_a_case_that_is_gone_is_worse() -> None:
    changes = compare(results(case("a"), case("b")), results(case("a")))
    assert {change.case for change in worse(changes)} == {"b onnxruntime fp32 224"}
    assert {change.verdict for change in worse(changes)} == {"gone"}


def test_another_machine_or_runtime_is_said() -> None:
    old, same = results(case()), results(case())
    new = MACHINE.model_copy(update={"cpu": "another", "packages": {"onnxruntime": "2.0.0"}})
    assert other_machine(old, same) is None
    said = other_machine(old, results(case(), machine=new))
    assert said is not None
    assert "another" in said
    assert "onnxruntime 1.32.0 and 2.0.0" in said


@pytest.mark.parametrize(
    ("after", "code"), [(results(case(ms=4.1)), 0), (results(case(ms=9.0)), 1), (results(case("b")), 1)]
)
def test_the_exit_code_says_whether_it_is_worse(
    after: Results, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(results(case()), tmp_path / "a")
    write_report(after, tmp_path / "b")
    assert main(["bench", "diff", str(tmp_path / "a"), str(tmp_path / "b")]) == code
    shown = capsys.readouterr()
    assert "latency, threads 1, batch 1" in shown.out
    assert ("worse" in shown.out or "gone" in shown.out) == (code == 1) or "error" in shown.err


def test_what_cannot_be_read_is_another_exit_code(tmp_path: Path) -> None:
    assert main(["bench", "diff", str(tmp_path), str(tmp_path)]) == 2
