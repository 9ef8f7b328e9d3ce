"""Values that a shell may complete: they are the names that the commands take."""

from __future__ import annotations

import pytest
import typer

from ghostclas import list_models
from ghostclas.cli import app
from ghostclas.cli.values import add_values
from ghostclas.engines.table import installed_engines
from ghostclas.exporting.formats import FORMATS
from ghostclas.training.recipes import recipe_names


def offered(verb: str, option: str, typed: str) -> list[str]:
    """Return what completes ``typed`` behind an option of a verb."""
    command = group = typer.main.get_command(app)
    context = group.make_context("ghostclas", [], resilient_parsing=True)
    for word in verb.split():
        assert hasattr(command, "get_command")
        command = command.get_command(context, word)
    add_values(command)
    (found,) = [parameter for parameter in command.params if option in parameter.opts]
    return [item.value for item in found.shell_complete(context, typed)]


def test_the_values_are_those_of_the_tables() -> None:
    assert offered("predict", "--engine", "") == ["auto", *installed_engines()]
    assert offered("export", "--format", "") == list(FORMATS)
    assert offered("train", "--network", "") == list_models()
    assert offered("train", "--recipe", "") == recipe_names()
    assert offered("ssld distil", "--recipe", "ssld_te") == ["ssld_teacher"]


@pytest.mark.parametrize(
    ("typed", "values"), [("onnx,openv", ["onnx,openvino"]), ("nothing", []), ("onnx,nothing,", None)]
)
def test_the_last_of_several_values_is_completed(typed: str, values: list[str] | None) -> None:
    assert offered("export", "--format", typed) == (
        values or [typed + name for name in FORMATS if values is None]
    )


def test_an_option_of_the_same_name_and_another_meaning_is_left_alone() -> None:
    assert offered("data prepare", "--format", "o") == []
