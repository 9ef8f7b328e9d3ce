"""GeneralModelService's request: read from a message and from JSON alike, and refused alike."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.paddle.general_model import Feed, images_of, read_json, read_message
from tests.serve.brpc.client import field, request, tensor
from tests.serve.served import builtin_model, jpeg

TEXT = base64.b64encode(jpeg(0)).decode()


def alike(one: Feed, other: Feed) -> None:
    assert (one.fetch, one.log_id) == (other.fetch, other.log_id)
    for mine, theirs in zip(one.tensors, other.tensors, strict=True):
        assert (mine.names, mine.elem_type, mine.shape) == (theirs.names, theirs.elem_type, theirs.shape)
        assert list(mine.strings) == list(theirs.strings)
        assert mine.content == theirs.content
        np.testing.assert_array_equal(mine.floats, theirs.floats)


def test_a_message_and_its_json_are_one_request() -> None:
    floats = np.array([0.1, -2.5, 3e38], np.float32)
    message = request(
        tensor(1, shape=(3, 1), strings=["a", "b"], floats=floats, content=b"\0\xff", name="n", alias="m"),
        fetch=["p", "q"],
        log_id=2**64 - 1,
    )
    document = {
        "tensor": [
            {
                "elem_type": 1,
                "shape": [3, 1],
                "data": ["a", "b"],
                "float_data": floats.tolist(),
                "tensor_content": base64.b64encode(b"\0\xff").decode(),
                "name": "n",
                "alias_name": "m",
                "lod": [],
            }
        ],
        "fetch_var_names": ["p", "q"],
        "log_id": 2**64 - 1,
        "profile_server": False,
    }
    alike(read_message(message), read_json(json.loads(json.dumps(document))))


def test_packed_and_single_floats_are_read_alike() -> None:
    # proto2's clients write each float with a tag of its own.
    single = b"".join(b"\x15" + np.float32(value).tobytes() for value in (1.5, 2.5))
    (read,) = read_message(request(single + field(2, np.float32(3.5).tobytes()))).tensors
    np.testing.assert_array_equal(read.floats, [1.5, 2.5, 3.5])


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"tensors": []}, "no field 'tensors'"),
        ({"tensor": {}}, "tensor is a list of dict"),
        ({"tensor": [1]}, "tensor is a list of dict"),
        ({"tensor": [{"data": "x"}]}, "data is a list of str"),
        ({"tensor": [{"data": [1]}]}, "data is a list of str"),
        ({"tensor": [{"shape": [1.5]}]}, "shape is a list of int"),
        ({"tensor": [{"shape": [True]}]}, "shape is a list of int"),
        ({"tensor": [{"float_data": ["1"]}]}, "float_data is a list of number"),
        ({"tensor": [{"float_data": [10**400]}]}, "no float"),
        ({"tensor": [{"elem_type": "20"}]}, "elem_type is a whole number"),
        ({"tensor": [{"name": 1}]}, "are strings"),
        ({"tensor": [{"tensor_content": "!"}]}, r"tensor\[0\]: tensor_content is no base64"),
        ({"tensor": [{"colour": 1}]}, r"tensor\[0\] has no field 'colour'"),
        ({"fetch_var_names": "prediction"}, "fetch_var_names is a list of str"),
        ({"log_id": -1}, "log_id is a whole number"),
        ({"log_id": 1.0}, "log_id is a whole number"),
    ],
)
def test_json_that_is_no_request(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ServeError, match=words) as caught:
        read_json(document)
    assert caught.value.kind is Kind.INVALID


JSON = st.recursive(
    st.sampled_from([None, True, -1, 3, 2**70, 10**400, 0.5, "", "QQ==", "x"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["tensor", "fetch_var_names", "log_id", "profile_server"])
INNER = st.sampled_from(
    ["data", "float_data", "shape", "elem_type", "name", "alias_name", "tensor_content", "lod"]
)


@given(st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(INNER, JSON), max_size=2)))
def test_any_json_is_a_request_or_refused(document: dict[str, Any]) -> None:
    with contextlib.suppress(ServeError):
        images_of(read_json(document), builtin_model(), Limits())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    with contextlib.suppress(ServeError):
        images_of(read_message(data), builtin_model(), Limits())


@given(st.data())
def test_a_damaged_request_is_a_request_or_refused(data: st.DataObject) -> None:
    message = bytearray(
        request(tensor(data.draw(st.sampled_from([1, 5, 7, 8, 20])), shape=(4,), strings=[TEXT]))
    )
    for _ in range(3):
        message[data.draw(st.integers(0, min(60, len(message) - 1)))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ServeError):
        images_of(read_message(bytes(message)), builtin_model(), Limits())
