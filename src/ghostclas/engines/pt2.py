"""What may be in a ``.pt2`` before PyTorch sees it.

``torch.export.load`` unpickles, imports, evaluates and compiles what the archive tells it to: pickled tensors
and constants, classes named in tree specifications, expressions, and the names of values, which become source
code. So only what an export of ours can hold is let through, and the archive is written anew from what was
checked, so that no two readers can see different things in it.
"""

from __future__ import annotations

import io
import json
import keyword
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

_TENSOR = re.compile(r"(weight|tensor)_\d+")
_MEMBER = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|models/model\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)
# Written empty: an export keeps no example inputs.
_EMPTY_MEMBER = "data/sample_inputs/model.pt"
_SIZE = re.compile(r"\d+|Symbol\('s\d+'(, (positive|integer|nonnegative)=True)*\)")
_WORD = re.compile(r"[A-Za-z0-9_.+]*", re.ASCII)
# One array in, one array out, or logits and features.
_LEAF = '{"type": null, "context": null, "children_spec": []}'
_TREES = {
    "in_spec": (
        '[1, {"type": "builtins.tuple", "context": "null", "children_spec": '
        '[{"type": "builtins.tuple", '
        f'"context": "null", "children_spec": [{_LEAF}]}}, '
        '{"type": "builtins.dict", "context": "[]", "children_spec": []}]}]',
    ),
    "out_spec": (
        f"[1, {_LEAF}]",
        f'[1, {{"type": "builtins.tuple", "context": "null", "children_spec": [{_LEAF}, {_LEAF}]}}]',
    ),
}
_OPERATORS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "_assert_tensor_metadata.default",
        "adaptive_avg_pool2d.default",
        "add.Tensor",
        "add_.Tensor",
        "alias.default",
        "cat.default",
        "clamp.default",
        "clone.default",
        "contiguous.default",
        "conv2d.default",
        "dropout.default",
        "flatten.using_ints",
        "hardsigmoid.default",
        "hardsigmoid_.default",
        "linear.default",
        "mean.dim",
        "mul.Tensor",
        "mul_.Tensor",
        "permute.default",
        "relu.default",
        "relu_.default",
        "slice.Tensor",
        "sub.Tensor",
        "to.dtype",
    )
)
_FORBIDDEN = ("as_operator", "as_graph", "as_custom_obj", "as_string_to_argument", "as_complex")
_MUST_BE_EMPTY = ("guards_code", "custom_obj_values", "treespec_namedtuple_fields", "use_pickle")


def plain_program(content: bytes) -> bytes:
    """Return the program as an archive of the same checked members.

    Raises:
        ValueError: it holds more than a graph of known operators and plain tensors; the text says what.
    """
    try:
        members = _members(content)
        for name, data in members.items():
            if name.endswith(".json"):
                _walk(json.loads(data), "", _config if "config" in name else _graph)
    except (
        zipfile.BadZipFile,
        zlib.error,
        json.JSONDecodeError,
        UnicodeDecodeError,
        NotImplementedError,
        EOFError,
        OSError,
        RecursionError,
        RuntimeError,
    ) as error:
        raise ValueError(f"it is not a complete .pt2 archive ({error})") from None
    rebuilt = io.BytesIO()
    with zipfile.ZipFile(rebuilt, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(f"model/{name}", data)
    return rebuilt.getvalue()


def _members(content: bytes) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        if len({info.filename.partition("/")[0] for info in infos}) > 1:
            raise _refused("more than one program")
        for info in infos:
            name = info.filename.partition("/")[2]
            empty = name == _EMPTY_MEMBER and info.file_size == 0
            if name in members or not (empty or _MEMBER.fullmatch(name)):
                raise _refused(f"the member {info.filename!r}")
            if info.compress_type != zipfile.ZIP_STORED:
                raise _refused(f"the compressed member {info.filename!r}")
            members[name] = archive.read(info)
    return members


def _walk(value: Any, key: str, check: Callable[[str, Any], bool]) -> None:
    """Check every name, text and marked value, however deep."""
    if not check(key, value):
        raise _refused(f"{key} = {str(value)[:80]!r}")
    if isinstance(value, dict):
        for name, item in value.items():
            if not _WORD.fullmatch(name) or keyword.iskeyword(name):
                raise _refused(f"the name {name[:80]!r}")
            _walk(item, name, check)
    elif isinstance(value, list):
        for item in value:
            _walk(item, key, check)


def _config(key: str, value: Any) -> bool:
    if key == "path_name":
        return isinstance(value, str) and _TENSOR.fullmatch(value) is not None
    return _plain(key, value)


def _graph(key: str, value: Any) -> bool:
    if key == "target":
        return isinstance(value, str) and value in _OPERATORS
    if key == "expr_str":
        return isinstance(value, str) and _SIZE.fullmatch(value) is not None
    if key in _TREES:
        return value in _TREES[key]
    return _plain(key, value)


def _plain(key: str, value: Any) -> bool:
    if key in _MUST_BE_EMPTY and value:
        return False
    if key in _FORBIDDEN:
        return False
    return not isinstance(value, str) or (
        _WORD.fullmatch(value) is not None and not (key in ("name", "as_name") and keyword.iskeyword(value))
    )


def _refused(what: str) -> ValueError:
    return ValueError(f"refused, because it holds {what}, which could carry code")
