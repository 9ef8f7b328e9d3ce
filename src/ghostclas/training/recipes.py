"""The recipes that come with the package: one YAML document per reproducible run."""

from __future__ import annotations

from importlib.resources import files

_FOLDER = files("ghostclas") / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes."""
    names = (entry.name for entry in _FOLDER.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """Return the YAML document of one of ``recipe_names()``."""
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
