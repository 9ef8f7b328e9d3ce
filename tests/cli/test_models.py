"""``models`` lists the named networks."""

from __future__ import annotations

import json

import pytest

from ghostclas.cli import main
from ghostclas.zoo import ZOO


def test_models_has_one_row_for_each_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == list(ZOO)
    assert header.split()[0] == "name"
    row = next(row for row in rows if row.startswith("ghostnet_x1_0 "))
    assert row.split() == [
        "ghostnet_x1_0",
        "PaddleClas",
        "5.18",
        "M",
        "141",
        "M",
        "282",
        "M",
        "20.8",
        "MB",
        "74.02",
        "91.65",
        "published",
    ]


def test_models_as_json_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == list(ZOO)
    for entry in entries:
        assert entry["flops"] == 2 * entry["macs"]
        assert entry["weight_bytes"] == 4 * entry["state_values"]
