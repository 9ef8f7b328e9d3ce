"""Recipes: one YAML document per reproducible run. Their header gives command, cost and result."""

from __future__ import annotations

from importlib.resources import files


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """Return the YAML document of one of ``recipe_names()``."""
    return (files(__name__) / f"{name}.yaml").read_text()
