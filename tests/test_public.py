"""Public names, the cost of importing, and the content of the wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import ghostclas
from ghostclas import errors
from tests.fresh import ROOT, modules_after

HEAVY = {"numpy", "PIL", "onnxruntime", "torch", "torchvision", "timm", "paddle", "pydantic", "typer", "rich"}


def test_importing_ghostclas_imports_nothing_heavy() -> None:
    assert modules_after("import ghostclas") & HEAVY == set()


def test_the_frame_of_the_command_line_imports_typer_and_nothing_else_that_is_heavy() -> None:
    help_text = "from ghostclas.cli import main; main(['--help'])"
    assert modules_after(help_text) & HEAVY == {"typer"}


def test_the_public_face_is_this() -> None:
    verbs = {
        "load",
        "list_models",
        "create_model",
        "calibrate",
        "train",
        "train_head",
        "distil",
        "evaluate",
        "compare",
        "export",
        "verify",
    }
    things = {"Bundle", "Classifier", "Prediction", "Run"}
    errors = {
        *("GhostclasError", "UsageError", "DataError", "ImageError", "BundleError", "MissingExtraError"),
        *("TrainingError", "ExportError"),
    }
    assert set(ghostclas.__all__) == {*verbs, *things, *errors, "__version__"}
    assert all(callable(getattr(ghostclas, name)) for name in verbs | things | errors)


def test_a_room_is_a_module_and_no_verb_hides_one() -> None:
    for name in ghostclas._ROOMS:
        assert getattr(ghostclas, name).__name__ == f"ghostclas.{name}"
    assert not ghostclas._ROOMS & set(ghostclas.__all__)


def test_verbs_of_the_runtime_half_bring_in_no_torch() -> None:
    code = "import ghostclas; ghostclas.load, ghostclas.evaluate, ghostclas.verify, ghostclas.export"
    code += "; ghostclas.Run, ghostclas.train_head"
    assert not {"torch", "timm"} & modules_after(code)


def test_every_public_name_can_be_imported() -> None:
    for name in ghostclas.__all__:
        assert getattr(ghostclas, name) is not None


def test_a_public_name_is_the_same_object_as_in_its_room() -> None:
    from ghostclas.prediction import Classifier

    assert ghostclas.Classifier is Classifier


def test_every_exception_class_is_public() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert tree <= set(ghostclas.__all__)


def test_a_room_is_imported_when_it_is_used() -> None:
    code = "import ghostclas; ghostclas.zoo.ZOO"
    assert "pydantic" in modules_after(code)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Classifer"):
        _ = ghostclas.Classifer


def test_the_installed_package_has_the_version_of_the_sources() -> None:
    from importlib.metadata import version

    assert version("ghostclas") == ghostclas.__version__


@pytest.mark.slow
def test_the_wheel_carries_types_recipes_and_the_built_in_model(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    wheel = next(builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path)))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "ghostclas").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= names
    assert "ghostclas/py.typed" in names
    assert any(name.startswith("ghostclas/assets/") and name.endswith("manifest.json") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests") for name in names)
