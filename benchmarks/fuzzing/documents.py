"""What our own commands wrote and somebody changed: measurements, mined lists, mappings of classes."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from fuzzing.mutation import scramble, scramble_json
from fuzzing.target import Target
from ghostclas.bench.diff import compare, other_machine
from ghostclas.bench.report import notes, tables, write_report
from ghostclas.bench.results import Results, Settings, read_results
from ghostclas.data import open_source
from ghostclas.ssld.classmap import map_classes
from ghostclas.ssld.mining import open_mined
from tests.bench import made
from tests.images import write_photo

_CLASSES = ("cat", "dog")
_POOL = b"@POOL@"


def _measurements(_folder: Path) -> list[bytes]:
    cases = (made.case(), made.case("other", 2.0, None, engine="openvino"))
    whole = Results(machine=made.MACHINE, settings=Settings(), noise=made.QUIET, cases=cases)
    return [whole.model_copy(update={"measured": "2026-01-01"}).model_dump_json(indent=1).encode()]


def _read_measurement(path: Path) -> None:
    results = read_results(path)
    compare(results, results)
    other_machine(results, results)
    write_report(results, path.parent / "report")
    assert tables(results)
    assert notes(results)


def _lists(_folder: Path) -> list[bytes]:
    images = [{"file": f"{i}.jpg", "class": _CLASSES[i % 2], "probability": 0.5} for i in range(3)]
    document = {"schema": 2, "pool": _POOL.decode(), "classes": list(_CLASSES), "images": images}
    return [json.dumps(document, indent=1).encode()]


def _photos(folder: Path) -> None:
    for number in range(3):
        (folder / "pool").mkdir(parents=True, exist_ok=True)
        write_photo(folder / "pool" / f"{number}.jpg", seed=number)
    for name in _CLASSES:
        (folder / "data" / name).mkdir(parents=True)
        write_photo(folder / "data" / name / "0.jpg")


def _read_list(path: Path) -> None:
    # The list names its pool by its place, which is another one in each process.
    path.write_bytes(path.read_bytes().replace(_POOL, str(path.parent / "pool").encode()))
    open_mined(path, _CLASSES)


def _mappings(_folder: Path) -> list[bytes]:
    return [b"output,class\n0,cat\n1,dog\n2,dog\n", b'"tabby, cat",cat\r\npug,dog\r\n']


def _read_mapping(path: Path) -> None:
    source = open_source(path.parent / "data")
    map_classes([["tabby, cat"], ["pug"], ["beagle"]], 3, source, "a teacher", path)


def _mutate_json(data: bytes, rng: Random) -> bytes:
    return scramble_json(data, rng) if rng.random() < 0.7 else scramble(data, rng)


MEASUREMENT = Target("bench.json", _measurements, _mutate_json, _read_measurement)
LIST = Target("mined.json", _lists, _mutate_json, _read_list, _photos)
MAPPING = Target(
    "mapping.csv",
    _mappings,
    lambda data, rng: scramble(data, rng, [b'"', b",", b"\n", b"\r", b"\0", b"9" * 5000]),
    _read_mapping,
    _photos,
)
