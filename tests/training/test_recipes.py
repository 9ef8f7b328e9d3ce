"""The recipes that come with the package."""

from __future__ import annotations

import pytest
import yaml

from ghostclas.training.recipes import recipe_names, recipe_text


def test_there_is_a_recipe_for_a_folder_of_photos_and_one_for_imagenet() -> None:
    names = recipe_names()
    assert names == sorted(names)
    assert {"scratch", "ghostnet_imagenet", "ssld"} <= set(names)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_begins_with_the_command_that_runs_it(name: str) -> None:
    text = recipe_text(name)
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert any(
        (line.startswith("#   ") and "ghostclas train" in line) or "ghostclas ssld" in line for line in header
    )
    assert isinstance(yaml.safe_load(text), dict)
