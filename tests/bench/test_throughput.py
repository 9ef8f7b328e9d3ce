"""Cold start, memory and throughput, from interleaved new processes."""

from __future__ import annotations

from pathlib import Path

from ghostclas.bench.cases import find_cases
from ghostclas.bench.photos import drawn_photos
from ghostclas.bench.results import Settings
from ghostclas.bench.throughput import measure_end_to_end
from ghostclas.bundle import Bundle


def test_one_start_is_not_counted_and_passes_label_the_whole_folder(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    cases, _ = find_cases([("small", small_bundle)], engines=["onnxruntime"])
    drawn_photos(tmp_path, 2)
    rounds: list[tuple[int, int]] = []
    settings = Settings(cold_starts=2, passes=1)
    (found,) = measure_end_to_end(
        cases, settings, tmp_path, progress=lambda done, total: rounds.append((done, total))
    )
    assert rounds == [(0, 2), (1, 2), (2, 2)]
    assert found.cold_start_ms
    assert found.cold_start_ms.count == 2
    assert found.images_per_second
    assert found.images_per_second.count == 1
