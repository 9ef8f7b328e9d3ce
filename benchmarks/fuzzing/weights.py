"""Files of weights, read as ``train --weights`` and ``export --model FILE`` do it."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save

from fuzzing.mutation import scramble, scramble_json
from fuzzing.target import Target
from ghostclas.weights.reading import read_weights

_OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
_NAMES = [b"cnumpy\nndarray\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"]


def _state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "stem.conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "stem.bn.num_batches_tracked": torch.tensor(3),
        "classifier.weight": torch.randn(3, 4, generator=generator).half(),
        "classifier.bias": torch.zeros(3),
    }


def _read(path: Path) -> None:
    read_weights(path)


def _safetensors(_folder: Path) -> list[bytes]:
    return [save(_state()), save(_state(), {"format": "pt", "note": "a note"})]


def _mutate_safetensors(data: bytes, rng: Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header, content = data[8 : 8 + size], data[8 + size :]
    match rng.randrange(3):
        case 0:
            header = scramble_json(header, rng)
        case 1:
            header = scramble(header, rng, [b"F32", b"F64", b"BF16", b"I64", b"U8", b"BOOL", b"__metadata__"])
        case _:
            return scramble(data, rng)
    return len(header).to_bytes(8, "little") + header + content


def _pdparams(_folder: Path) -> list[bytes]:
    arrays = {name: tensor.numpy() for name, tensor in _state().items()}
    table = {"StructuredToParameterName@@": {name: f"p_{i}" for i, name in enumerate(arrays)}}
    slices = {
        "stem.conv.weight@@.0": arrays["stem.conv.weight"].reshape(-1)[:50],
        "stem.conv.weight@@.1": arrays["stem.conv.weight"].reshape(-1)[50:],
        "UnpackBigParamInfor@@": {
            "stem.conv.weight": {
                "OriginShape": (4, 3, 3, 3),
                "slices": ["stem.conv.weight@@.0", "stem.conv.weight@@.1"],
            }
        },
    }
    one_by_one = {name: (name, array) for name, array in arrays.items()}
    big_endian = {name: np.asarray(array, array.dtype.newbyteorder(">")) for name, array in arrays.items()}
    contents = ({**arrays, **table}, slices, one_by_one, big_endian)
    return [pickle.dumps(content, protocol) for content in contents for protocol in (2, 3, 4)]


def _mutate_pickle(data: bytes, rng: Random) -> bytes:
    return scramble(data, rng, [*_OPCODES, *_NAMES])


def _pths(_folder: Path) -> list[bytes]:
    files = []
    for content in (_state(), {"state_dict": _state(), "epoch": 3}, {"ema": _state(), "model": _state()}):
        for as_zip in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=as_zip)
            files.append(buffer.getvalue())
    return files


def _mutate_pth(data: bytes, rng: Random) -> bytes:
    if not data.startswith(b"PK"):
        return _mutate_pickle(data, rng)
    if rng.random() < 0.2:
        return scramble(data, rng, [b"PK\1\2", b"PK\3\4", b"PK\5\6"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = (
        next(n for n in members if n.endswith("data.pkl")) if rng.random() < 0.8 else rng.choice([*members])
    )
    members[name] = _mutate_pickle(members[name], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return buffer.getvalue()


SAFETENSORS = Target("weights.safetensors", _safetensors, _mutate_safetensors, _read)
PDPARAMS = Target("weights.pdparams", _pdparams, _mutate_pickle, _read)
PTH = Target("weights.pth", _pths, _mutate_pth, _read)
