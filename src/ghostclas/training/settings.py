"""Every setting of a run, as a recipe with explanations."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from pydantic import BaseModel

from ghostclas.training.config import TrainConfig, resolve_config

_WIDTH = 110
_PLACEHOLDER = "photos/"


def settings_document(recipe: str, *, schema: type[TrainConfig] = TrainConfig) -> str:
    """Return the YAML document of all settings, with the values that they have in ``recipe``.

    A comment beside each setting gives its type; a comment above each group explains it. The document is
    itself a recipe; replace ``data.path``, or give it by ``--data``.
    """
    config = resolve_config(recipe, [], {"data": {"path": _PLACEHOLDER}}, schema=schema)
    definitions = schema.model_json_schema()["$defs"]
    return "\n".join(_group(config, definitions, indent=0)).strip() + "\n"


def _group(group: BaseModel, definitions: Mapping[str, Any], indent: int) -> Iterator[str]:
    margin = " " * indent
    fields = definitions.get(type(group).__name__, {}).get("properties", {})
    values = group.model_dump(mode="json")
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            if indent == 0:
                yield ""
            for paragraph in inspect.cleandoc(type(value).__doc__ or "").split("\n\n"):
                prefix = f"{margin}# "
                text = " ".join(paragraph.replace("``", "`").split())
                yield fill(
                    text, _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
                )
            yield f"{margin}{name}:"
            yield from _group(value, definitions, indent + 2)
        elif name in fields:
            line = f"{margin}{name}: {json.dumps(values[name])}"
            taken = _taken(fields[name])
            yield f"{line:<40}  # {taken}" if taken else line


def _taken(schema: Mapping[str, Any]) -> str:
    """Return the type and the range of a setting in a few words."""
    if "anyOf" in schema:
        return " or ".join(_taken(choice) for choice in schema["anyOf"])
    if "$ref" in schema:
        return "group of settings"
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type", "")
    if kind == "array":
        items = schema.get("prefixItems") or [schema["items"]]
        inside = [_taken(item) for item in items]
        if len(set(inside)) == 1:
            inside = inside[:1]
        length = f"{len(items)} " if "prefixItems" in schema else ""
        return f"list of {length}({'; '.join(inside)})"
    bounds = [
        f"{word} {_number(schema[key])}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
            ("multipleOf", "in steps of"),
        )
        if key in schema
    ]
    words = {"integer": "whole number", "boolean": "true or false", "string": "text"}
    return " ".join([words.get(kind, kind), *bounds])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10_000 else f"{value:g}"
