"""Checks manifests against the models of the kubernetes and kserve packages: ``manifests.py FILE...``.

Prints of each file its kinds, and every field that no model has or whose value has another type.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes.client
import yaml

# The package itself imports its server, which takes seconds; its models are enough.
package = ModuleType("kserve")
found_at = find_spec("kserve")
assert found_at is not None
package.__path__ = list(found_at.submodule_search_locations or [])
sys.modules["kserve"] = package
kserve_models = import_module("kserve.models")

MODELS = {
    "apps/v1": kubernetes.client,
    "v1": kubernetes.client,
    "policy/v1": kubernetes.client,
    "serving.kserve.io/v1alpha1": kserve_models,
    "serving.kserve.io/v1beta1": kserve_models,
}
PREFIXES = {"serving.kserve.io/v1alpha1": "V1alpha1", "serving.kserve.io/v1beta1": "V1beta1"}
PLAIN: dict[str, Any] = {"str": str, "int": int, "bool": bool, "float": (int, float)}
wrong: list[str] = []


def check(where: str, value: Any, kind: str) -> None:
    """Note what of a value is not of a kind, as the packages' models name it."""
    if found := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            wrong.append(f"{where} is no list")
            return
        for number, one in enumerate(value):
            check(f"{where}[{number}]", one, found[1])
    elif found := re.fullmatch(r"dict\((\w+), (.*)\)", kind):
        for key, one in value.items():
            check(f"{where}.{key}", one, found[2])
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            wrong.append(f"{where} is {type(value).__name__}, not {kind}")
    elif kind != "object":
        model = getattr(kubernetes.client, kind, None) or getattr(kserve_models, kind, None)
        if model is None:
            # Quantities and ports that are numbers or names.
            return
        names = {alias: name for name, alias in model.attribute_map.items()}
        for key, one in value.items():
            if key not in names:
                wrong.append(f"{where}.{key} is no field of {kind}")
            elif not (kind.startswith("V1HTTPGet") and key == "port"):
                check(f"{where}.{key}", one, model.openapi_types[names[key]])


answers = []
for path in sys.argv[1:]:
    wrong.clear()
    kinds = []
    for document in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")):
        kinds.append(document["kind"])
        name = PREFIXES.get(document["apiVersion"], "V1") + document["kind"]
        assert hasattr(MODELS[document["apiVersion"]], name), name
        check(document["kind"], document, name)
    answers.append({"kinds": kinds, "wrong": list(wrong)})
print(json.dumps({"files": answers}))
