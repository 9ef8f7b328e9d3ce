"""The results of a measurement, written and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostclas.bench.report import JSON, write_report
from ghostclas.bench.results import Results, Settings, batch_threads, read_results
from ghostclas.bench.statistics import Spread
from ghostclas.errors import UsageError


def test_results_survive_json(family: Results, tmp_path: Path) -> None:
    write_report(family, tmp_path)
    assert read_results(tmp_path) == family
    assert read_results(tmp_path / JSON) == family


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), ("{}", "no measurement"), ('{"schema_version": 2}', "schema_version")],
)
def test_what_is_no_measurement_is_refused_in_a_sentence(
    content: str | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / JSON
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_results(file)


def test_memory_that_no_machine_has_is_refused(family: Results, tmp_path: Path) -> None:
    write_report(family, tmp_path)
    file = tmp_path / JSON
    found = json.loads(file.read_text(encoding="utf-8"))
    found["machine"]["memory"] = 10**400
    file.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(UsageError, match=r"machine\.memory"):
        read_results(file)


def test_a_measurement_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Spread(count=1, p25=0, p50=0, p75=0, p95=0, p99=0)


def test_batches_use_all_cores_and_no_more() -> None:
    settings = Settings(threads=(1, 2, 4))
    assert [batch_threads(settings, cores) for cores in (1, 2, 3, 8)] == [1, 2, 2, 4]
    assert batch_threads(Settings(threads=(4,)), 2) == 4
