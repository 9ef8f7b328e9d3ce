"""Every example of the documents and docstrings runs, and every command line has options that exist."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
import typer
import yaml

from ghostclas.bundle import Bundle, copy_bundle
from ghostclas.cli import app
from ghostclas.training import config as training_config
from ghostclas.training.recipes import recipe_text
from tests.examples import (
    Example,
    command_lines,
    docstring_examples,
    page_examples,
    source_command_lines,
    unknown_words,
)
from tests.training.photos import photo_folder

WHERE_EXAMPLES_ARE = {
    *("README.md", "README.zh-CN.md", "docs/answers.md", "docs/training.md", "docs/ssld.md"),
    *("src/ghostclas/__init__.py:module", "src/ghostclas/prediction/classifier.py:Classifier"),
    *("src/ghostclas/bench/__init__.py:module", "src/ghostclas/evaluation/__init__.py:module"),
    "src/ghostclas/ssld/__init__.py:module",
}


def cut_short(name: str) -> str:
    """Return a recipe of one epoch of small pictures, with all its other settings."""
    recipe = yaml.safe_load(recipe_text(name))
    recipe.setdefault("model", {})["dropout"] = 0.0
    recipe.setdefault("schedule", {}).update(epochs=1, warmup_epochs=0, head_epochs=0)
    recipe.setdefault("data", {}).update(resolution=64, progressive=[], workers=0)
    recipe.setdefault("loop", {}).update(batch_size=32, device="cpu")
    if "distil" in recipe:
        recipe["model"]["name"] = "ghostnet_x0_2"
        recipe["distil"].setdefault("finetune", {})["epochs"] = 1
    text: str = yaml.safe_dump(recipe)
    return text


@pytest.fixture
def prepared(small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with what the examples find: photos, runs, and recipes that are cut short."""
    photos, pool = (
        photo_folder(tmp_path / "photos"),
        photo_folder(tmp_path / "pool", train=6, val=1),
    )
    for part in (photos / "train", photos / "val"):
        for label, name in enumerate(small_bundle.classes[:3]):
            (part / str(label)).rename(part / name)
    (pool / "train").rename(tmp_path / "more-photos")
    for name in ("photo.jpg", "a.jpg", "b.jpg", "cat.jpg", "dog.jpg"):
        shutil.copyfile(tmp_path / "more-photos" / "0" / "0.png", tmp_path / name)
    for run in ("flowers", "teacher"):
        copy_bundle(small_bundle, tmp_path / "runs" / run / "bundle")
    monkeypatch.setattr(training_config, "recipe_text", cut_short)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_are_found() -> None:
    assert {example.where for example in (*page_examples(), *docstring_examples())} >= WHERE_EXAMPLES_ARE
    assert len(command_lines()) > 80


ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
TRAINING = ("docs/ssld.md", "docs/training.md", "src/ghostclas/ssld/__init__.py:module")


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=example.where, marks=[pytest.mark.slow] * (example.where in TRAINING))
        for example in (*page_examples(), *docstring_examples())
        if example.where != CHINESE
    ],
)
def test_an_example_runs(example: Example) -> None:
    exec(compile(example.code, example.where, "exec"), {"__name__": "__main__"})


def test_both_readmes_have_the_same_code() -> None:
    programs = {example.where: ast.dump(ast.parse(example.code)) for example in page_examples()}
    assert programs[CHINESE] == programs[ENGLISH]
    lines: dict[str, list[str]] = {ENGLISH: [], CHINESE: []}
    for where, line in command_lines():
        if where in lines:
            lines[where].append(line)
    assert lines[CHINESE] == lines[ENGLISH]


def verbs() -> list[str]:
    """Return the names of the commands."""
    command = typer.main.get_command(app)
    assert hasattr(command, "list_commands")
    return list(command.list_commands(command.make_context("ghostclas", [], resilient_parsing=True)))


@pytest.mark.parametrize("example", command_lines(), ids=lambda example: f"{example.where}: {example.code}")
def test_a_command_line_of_the_documents_has_options_that_exist(example: Example) -> None:
    assert unknown_words(example.code) == []


def test_a_command_line_in_a_hint_or_message_has_options_that_exist() -> None:
    lines = source_command_lines(verbs())
    assert Example("src/ghostclas/zoo.py", "ghostclas train --output X --resume") in lines
    assert {line: wrong for line in lines if (wrong := unknown_words(line.code))} == {}


def test_an_option_that_does_not_exist_is_found() -> None:
    assert unknown_words("ghostclas train --data photos/ --epoch 3") != []
    assert unknown_words("ghostclas trian --data photos/") == ["trian"]
    assert unknown_words("ghostclas ssld mine --top-k 3") == []
