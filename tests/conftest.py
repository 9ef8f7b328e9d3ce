"""Fixtures that several rooms share."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ghostclas import download as module
from ghostclas.bundle import Bundle
from tests.downloads import Server


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Tests send Ctrl-C, which a shell lets jobs in its background ignore."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def made_once(name: str, make: Callable[[Path], object], temporary: pytest.TempPathFactory) -> Bundle:
    """Return the bundle that ``make`` writes, from whichever process of ``./check`` needed it first."""
    target = Path(os.environ.get("GHOSTCLAS_TEST_BUNDLES") or temporary.mktemp("shared")) / name
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            whole = temporary.mktemp("whole") / name
            make(whole)
            shutil.move(whole, target)
    return Bundle.open(target)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, shared by the processes of ``./check``."""
    folder = Path(os.environ.get("GHOSTCLAS_TEST_BUNDLES") or tmp_path_factory.mktemp("shared")) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHOSTCLAS_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A complete bundle of a narrow network with seven classes at 64 x 64, whose answers differ by photo."""
    import torch

    from ghostclas.exporting.onnx import export_bundle
    from ghostclas.models.registry import create_model
    from ghostclas.spec import ModelSpec, PreprocessSpec, ResizeSpec

    classes = ("tabby, tabby cat", "coffee mug", "rocket", "beagle", "小狗", "acorn", "sports car")
    spec = ModelSpec(name="ghostnet_x0_5", width=0.5, num_classes=len(classes))
    preprocess = PreprocessSpec(resize=ResizeSpec(short_side=72), crop=64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model(spec)
        # As initialised, the last layer makes every photo look alike, and norms do nothing.
        assert isinstance(model.classifier, torch.nn.Linear)
        torch.nn.init.normal_(model.classifier.weight, std=0.05)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.1)
                torch.nn.init.normal_(module.running_mean, std=0.1)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made_once(
        "small",
        lambda target: export_bundle(model.eval(), spec, classes, preprocess, target),
        tmp_path_factory,
    )


@pytest.fixture
def tiny_bundle(small_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy of ``small_bundle`` that a test may change."""
    shutil.copytree(small_bundle.path, tmp_path / "tiny")
    return Bundle.open(tmp_path / "tiny")


@pytest.fixture(scope="session")
def full_bundle(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same bundle in every format whose toolchain is here; processes share the conversions."""
    from ghostclas.exporting.formats import FORMATS

    base = made_once("full", lambda target: shutil.copytree(small_bundle.path, target), tmp_path_factory)
    # First what no other process is at, then what the others have begun.
    for waiting in (fcntl.LOCK_NB, 0):
        for name in FORMATS:
            if name != "onnx":
                add_once(base.path, name, waiting)
    return Bundle.open(base.path)


def add_once(bundle: Path, name: str, waiting: int) -> None:
    """Add a file in the format ``name``, unless a process did; without waiting, leave it to one that does."""
    from ghostclas.errors import MissingExtraError
    from ghostclas.exporting.additions import add_formats

    done = bundle.with_suffix(f".{name}")
    with done.with_suffix(f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | waiting)
        except BlockingIOError:
            return
        if done.exists():
            return
        for added in add_formats(Bundle.open(bundle), [name]):
            if added.error is not None and not isinstance(added.error, MissingExtraError):
                raise added.error
        done.touch()


@pytest.fixture
def weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test end with their last checkpoint."""
    from tests.training.runs import end_without_bundle

    end_without_bundle(monkeypatch)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
