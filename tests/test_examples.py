"""Every example of the documents and docstrings runs, and every command line has options that exist."""

from __future__ import annotations

import ast
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ghostclas.bundle import Bundle, copy_bundle
from ghostclas.cli import app, main
from ghostclas.training import config as training_config
from ghostclas.training import fitting
from ghostclas.training.recipes import recipe_text
from tests.examples import (
    ROOT,
    Example,
    command_lines,
    docstring_examples,
    page_examples,
    shell_lines,
    source_command_lines,
    unknown_words,
)
from tests.images import write_photo
from tests.training.photos import photo_folder, photos

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
    recipe["data"].update(eval_resolution=64, eval_resize=72)
    recipe.setdefault("loop", {}).update(batch_size=32, device="cpu")
    if "distil" in recipe:
        recipe["model"]["name"] = "ghostnet_x0_2"
        recipe["distil"].setdefault("finetune", {})["epochs"] = 1
    text: str = yaml.safe_dump(recipe)
    return text


def fitted_short(images: int) -> dict[str, Any]:
    """Return what the recipe for few photos makes of their number, with one epoch."""
    fitted = fitting.small(images)
    fitted["schedule"].update(epochs=1, warmup_epochs=0)
    fitted["loop"]["validate_every"] = 1
    return fitted


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
    monkeypatch.setattr(training_config, "FITTED", {"small": fitted_short})
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


NOT_RUN: Mapping[str, str] = {
    "pip install": "it changes the environment that the tests run in",
    "./check": "it runs the tests",
    "curl --data-binary": "it needs the server of the line above; tests/serve/http asks one",
    "ghostclas serve": "it serves until it is stopped; tests/cli/test_serve.py does it",
    "ghostclas import DIR": "Paddle makes such a model; tests/test_from_paddleclas.py does it",
    "ghostclas ssld --teacher efficientnet_lite0": "its weights are far away; tests/cli/test_ssld.py",
    "ghostclas predict photo.jpg --model runs/student": "the line above makes this run",
    "ghostclas data prepare imagenet --train-tar": "ImageNet is not here; tests/cli/test_data.py has some",
    "ghostclas train --data photos/ --time 30m": "it takes half a minute; see tests/training/test_budget.py",
    "ghostclas train --data photos/ --network": "it takes ten seconds more; tests/cli/test_train.py has it",
    "ghostclas train --data photos/ --weights": "it takes ten seconds more; tests/cli/test_train.py has it",
    "ghostclas train --data photos/ --epochs 40": "it takes half a minute; tests/cli/test_train.py has both",
    "ghostclas export --model runs/photos-ghostnet_x1_0 --format openvino --precision int8": (
        "a file that is no faster on this machine is refused; see tests/exporting/test_quantize.py"
    ),
    "ghostclas bench --report": "it takes minutes; tests/cli/test_bench.py has a short one",
    "torchrun": "it is several processes; tests/training/test_distributed.py",
    "python benchmarks/small_data.py": "it takes the photos of the benchmark and minutes",
}
"""What begins the lines that are not run, and why."""

RUN_PAGES: Mapping[str, tuple[str, ...]] = {
    "README.md": (),
    "docs/commands.md": ("ghostclas train --fast --data photos --output runs/first",),
    "docs/predicting.md": (),
    "docs/answers.md": ("ghostclas train --fast --data flowers --output runs/flowers",),
    "docs/training.md": ("ghostclas train --fast --data photos --output runs/photos",),
}
"""The pages whose shell lines run, and what their readers have done before."""


def reason_not_to_run(line: str) -> str | None:
    """Return why this line of a page is not run here, if it is not."""
    return next((why for begin, why in NOT_RUN.items() if f"{line} ".startswith(f"{begin} ")), None)


def written(line: str) -> dict[str, dict[Path, int]]:
    """Return the files, with their time of change, below each place that a command writes to."""
    words = shlex.split(line)
    places = {
        word: Path(words[number + 1])
        for number, word in enumerate(words[:-1])
        if word in ("--output", "--report", "--sort")
    }
    return {
        word: {file: file.stat().st_mtime_ns for file in (place, *place.rglob("*")) if file.is_file()}
        for word, place in places.items()
    }


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page != "README.md")) for page in RUN_PAGES],
)
def test_every_line_that_a_reader_types_runs(page: str, small_bundle: Bundle, prepared: Path) -> None:
    write_what_the_lines_name(small_bundle)
    for line in (*RUN_PAGES[page], *shell_lines(ROOT / page)):
        if reason_not_to_run(line):
            continue
        before = written(line)
        assert main(shlex.split(line)[1:]) == 0, line
        if "--resume" not in line:
            unchanged = [word for word, files in written(line).items() if files == before[word]]
            assert unchanged == [], line


def write_what_the_lines_name(bundle: Bundle) -> None:
    """Write the photos and bundles that the pages speak of into the current directory."""
    for number in range(4):
        for folder, kind in (("holiday", "jpg"), ("scans", "png")):
            Path(folder).mkdir(exist_ok=True)
            write_photo(Path(folder, f"{number}.{kind}"), seed=number)
    # As many as a threshold for unknown photos needs, and for a temperature some with a wrong label.
    for key, content in photos(classes=3, each=8, seed=2).items():
        label, _, file = key.partition("/")
        label = str((int(label) + 1) % 3) if file in ("0.png", "1.png") else label
        Path("photos", "val", bundle.classes[int(label)], f"more-{file}").write_bytes(content)
    shutil.copytree("photos", "flowers")
    shutil.rmtree("runs/flowers")
    for name in ("A", "B", "BUNDLE"):
        copy_bundle(bundle, Path(name))
    theirs = {
        "Global": {"epochs": 1, "image_shape": [3, 64, 64]},
        "Arch": {"name": "GhostNet_x1_0"},
        "Optimizer": {"name": "Momentum", "lr": {"name": "Cosine", "learning_rate": 0.1}},
        "DataLoader": {"Train": {"sampler": {"batch_size": 8}}},
    }
    Path("GhostNet_x1_0.yaml").write_text(yaml.safe_dump(theirs), encoding="utf-8")


def test_a_line_that_is_not_run_is_one_of_the_exceptions() -> None:
    lines = [line for page in RUN_PAGES for line in shell_lines(ROOT / page)]
    foreign = [line for line in lines if not line.startswith("ghostclas ") and not reason_not_to_run(line)]
    assert foreign == [], "run them, or name them in NOT_RUN"
    unused = [begin for begin in NOT_RUN if not any(f"{line} ".startswith(f"{begin} ") for line in lines)]
    assert unused == [], "no page has them any more"


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
