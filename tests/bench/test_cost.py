"""Multiply-adds of one photo."""

from __future__ import annotations

from ghostclas.bench.cost import count_macs
from ghostclas.zoo import ZOO, locate


def test_macs_are_those_of_the_table_of_networks() -> None:
    bundle = locate("default").bundle()
    entry = ZOO["ghostnet_x1_0"]
    macs = count_macs(bundle)
    assert macs
    # Everything but the last two layers grows with the area of the input.
    classes = 1280 * len(bundle.classes)
    areas = (bundle.preprocess.crop / 224) ** 2
    assert areas * (entry.macs - 1280 * 1000) < macs - classes < 1.2 * areas * (entry.macs - 1280 * 1000)
