"""The images that training sets aside are found again, in the same folder and in none other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ghostclas.data import Source, Splits, Subset, open_source, open_splits
from ghostclas.data.set_aside import WITNESSES, Found, SetAside, describe_set_aside, find_set_aside
from tests.data.trees import make_folder, picture, zip_folder

COUNTS = {"ant": 10, "bee": 15, "cat": 1, "dog": 7}
SEED = 3


def keys(source: Source) -> set[str]:
    return {sample.key for sample in source.samples}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "lab", COUNTS)


@pytest.fixture
def splits(root: Path) -> Splits:
    return open_splits(root, seed=SEED)


@pytest.fixture
def record(splits: Splits) -> SetAside:
    record = describe_set_aside(splits.val, SEED)
    assert record
    return SetAside.model_validate_json(record.model_dump_json())


def find(record: SetAside, source: Source) -> Found | None:
    return find_set_aside(record, sorted(COUNTS), source)


def unseen(found: Found | None, source: Source) -> set[str]:
    assert found
    return keys(Subset(source, np.flatnonzero(found.unseen)))


def test_the_same_images_are_found_again(record: SetAside, splits: Splits, root: Path) -> None:
    assert (record.images, record.held_out) == (33, len(splits.val.samples)) == (33, 6)
    assert record.bounds[2] is None
    assert len(record.witnesses) == 2 * WITNESSES
    found = find(record, open_source(root))
    assert unseen(found, open_source(root)) == keys(splits.val)
    assert found
    assert not found.changed
    assert "ant" not in record.model_dump_json(), "names stay at home"


def test_a_folder_that_moved_and_its_archive_are_the_same(
    record: SetAside, splits: Splits, root: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(root, tmp_path / "elsewhere")
    for place in (moved, zip_folder(root, tmp_path / "lab.zip")):
        found = find(record, open_source(place))
        assert found
        assert not found.changed
        assert unseen(found, open_source(place)) == keys(splits.val)


def test_no_image_that_was_trained_on_is_found_after_a_change(
    record: SetAside, splits: Splits, root: Path
) -> None:
    for number in range(100, 150):
        (root / "ant" / f"{number}.jpg").write_bytes(picture(number))
    gone = sorted(keys(splits.val))[0]
    (root / gone).unlink()
    shutil.rmtree(root / "dog")
    make_folder(root, {"aardvark": 4}, seed=9000)
    source = open_source(root)
    found = find(record, source)
    assert found
    assert found.changed
    measured = unseen(found, source)
    assert not measured & keys(splits.train)
    stayed = {key for key in keys(splits.val) - {gone} if not key.startswith("dog")}
    assert stayed <= measured
    assert not any(key.startswith("aardvark") for key in measured)


def test_another_folder_with_the_same_names_is_another(record: SetAside, tmp_path: Path) -> None:
    assert find(record, open_source(make_folder(tmp_path / "other", COUNTS, seed=50_000))) is None
    assert find(record, open_source(make_folder(tmp_path / "few", {"eel": 3, "fox": 3}))) is None


def test_what_was_not_set_aside_by_lot_has_no_record(splits: Splits, tmp_path: Path, root: Path) -> None:
    divided = make_folder(tmp_path / "set", {"train/ant": 2, "train/bee": 2, "val/ant": 1, "val/bee": 1})
    assert describe_set_aside(open_splits(divided).val, 0) is None
    assert describe_set_aside(splits.val, SEED + 1) is None
    by_hand = Subset(open_source(root), np.array([0, 5, 12]))
    assert describe_set_aside(by_hand, SEED) is None


def test_images_that_are_gone_since_are_no_witnesses(splits: Splits, root: Path) -> None:
    shutil.rmtree(root / "bee")
    record = describe_set_aside(splits.val, SEED)
    assert record
    assert 0 < len(record.witnesses) < 2 * WITNESSES
