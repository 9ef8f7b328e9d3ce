"""The Open Inference Protocol in gRPC's messages: what is taken, what is given, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from ghostclas.imaging import preprocess
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.grpc.inference import read_request
from ghostclas.serve.grpc.messages import inference
from ghostclas.serve.grpc.server import start
from ghostclas.serve.service import Service
from tests.serve.grpc.stub import Stub, array_of, elements, infer_request
from tests.serve.hosting import hosted, logits_of, scores_of
from tests.serve.served import builtin_bundle, builtin_model, jpeg, serving


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(builtin_model(), builtin_model("other")) as service:
        yield service


@pytest.fixture(scope="module")
def stub(service: Service) -> Iterator[Stub]:
    with hosted(start, service) as server, Stub(server.port) as stub:
        yield stub


def pixels(*seeds: int) -> Any:
    return np.stack([preprocess(jpeg(seed), builtin_bundle().preprocess) for seed in seeds])


def of_pixels(array: Any, **fields: Any) -> Any:
    return infer_request(name="images", datatype="UINT8", shape=array.shape, raw=array.tobytes(), **fields)


def test_live_ready_and_metadata(stub: Stub, service: Service) -> None:
    assert stub.call("ServerLive").live
    assert stub.call("ServerReady").ready
    server = stub.call("ServerMetadata")
    assert server.name == "ghostclas"
    assert server.version
    asked = inference["ModelMetadataRequest"](name="other")
    model = stub.call("ModelMetadata", asked)
    assert model.name == "other"
    assert list(model.versions) == [service.model("other").version]
    (taken,) = model.inputs
    side = service.model().side
    assert (taken.name, taken.datatype, list(taken.shape)) == ("images", "UINT8", [-1, side, side, 3])
    count = len(service.model().classes)
    assert [(out.name, out.datatype, list(out.shape)) for out in model.outputs] == [
        ("logits", "FP32", [-1, count]),
        ("scores", "FP32", [-1, count]),
    ]
    assert "encoded" in model.properties["alternative_input"]


def test_a_version_that_is_served_and_one_that_is_not(stub: Stub, service: Service) -> None:
    version = service.model().version
    for name in ("ModelReady", "ModelMetadata"):
        message = inference[f"{name}Request"]
        assert stub.call(name, message(name="default", version=version))
        for wrong in (message(name="none"), message(name="default", version="1"), message()):
            assert stub.refused(partial(stub.call, name, wrong))[0] == "NOT_FOUND"
    assert stub.infer(jpeg(0), model_version=version).model_version == version
    assert stub.refused(lambda: stub.infer(jpeg(0), model_version="1"))[0] == "NOT_FOUND"


def test_pixels_and_files_have_one_answer(stub: Stub) -> None:
    response = stub.call("ModelInfer", of_pixels(pixels(0, 1)))
    np.testing.assert_allclose(array_of(response, "logits"), logits_of(jpeg(0), jpeg(1)), atol=1e-3)
    np.testing.assert_array_equal(
        array_of(response, "logits"), array_of(stub.infer(jpeg(0), jpeg(1)), "logits")
    )


def test_typed_contents_are_answered_with_typed_contents(stub: Stub) -> None:
    array = pixels(0)
    request = inference["ModelInferRequest"](model_name="default")
    one = request.inputs.add(name="images", datatype="UINT8", shape=array.shape)
    one.contents.uint_contents.extend(array.ravel().tolist())
    response = stub.call("ModelInfer", request)
    assert not response.raw_output_contents
    np.testing.assert_allclose(array_of(response, "scores"), scores_of(jpeg(0)), atol=1e-5)
    request = inference["ModelInferRequest"](model_name="default")
    one = request.inputs.add(name="encoded", datatype="BYTES", shape=[2, 1])
    one.contents.bytes_contents.extend([jpeg(0), jpeg(1)])
    response = stub.call("ModelInfer", request)
    np.testing.assert_allclose(array_of(response, "scores"), scores_of(jpeg(0), jpeg(1)), atol=1e-5)


def test_outputs_come_as_asked(stub: Stub) -> None:
    response = stub.infer(jpeg(0), outputs=["scores"])
    assert [output.name for output in response.outputs] == ["scores"]
    assert len(response.raw_output_contents) == 1
    response = stub.infer(jpeg(0), outputs=["scores", "logits"])
    assert [output.name for output in response.outputs] == ["scores", "logits"]


@pytest.mark.parametrize("raw", [True, False])
def test_the_best_classes_in_words(stub: Stub, service: Service, *, raw: bool) -> None:
    request = infer_request(jpeg(0), outputs=["scores"])
    request.outputs[0].parameters["classification"].int64_param = 3
    if not raw:
        del request.raw_input_contents[:]
        request.inputs[0].contents.bytes_contents.append(jpeg(0))
    response = stub.call("ModelInfer", request)
    (output,) = response.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [1, 3])
    best = np.argsort(-scores_of(jpeg(0))[0])[:3]
    classes = service.model().classes
    words = [f"{scores_of(jpeg(0))[0, index]:.3f}:{index}:{classes[index]}" for index in best]
    if raw:
        given = [text.decode() for text in split(response.raw_output_contents[0])]
    else:
        given = [text.decode() for text in output.contents.bytes_contents]
    for mine, theirs in zip(words, given, strict=True):
        assert mine.split(":", 1)[1] == theirs.split(":", 1)[1]
        assert float(mine.split(":")[0]) == pytest.approx(float(theirs.split(":")[0]), abs=1e-3)


def split(data: bytes) -> list[bytes]:
    values = []
    while data:
        size = int.from_bytes(data[:4], "little")
        values.append(data[4 : 4 + size])
        data = data[4 + size :]
    return values


def twice() -> Any:
    request = infer_request(jpeg(0))
    request.inputs.add(name="images", datatype="UINT8", shape=[1])
    return request


def changed(change: Callable[[Any], object]) -> Callable[[], Any]:
    def make() -> Any:
        request = infer_request(jpeg(0), outputs=["scores"])
        change(request)
        return request

    return make


def both(request: Any) -> None:
    request.inputs[0].contents.bytes_contents.append(jpeg(0))


def without(request: Any) -> None:
    del request.raw_input_contents[:]


def wrong_contents(request: Any) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].contents.int_contents.append(1)


def more_contents(request: Any) -> None:
    without(request)
    request.inputs[0].contents.bytes_contents.extend([jpeg(0), jpeg(1)])


def large_level() -> Any:
    request = of_pixels(np.zeros((1, builtin_model().side, builtin_model().side, 3), np.uint8))
    count = len(request.raw_input_contents[0])
    del request.raw_input_contents[:]
    request.inputs[0].contents.uint_contents.extend([256] * count)
    return request


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: inference["ModelInferRequest"](model_name="default"), Kind.INVALID, "one input"),
        (twice, Kind.INVALID, "one input"),
        (lambda: infer_request(jpeg(0), model="none"), Kind.NOT_FOUND, "no model 'none'"),
        (lambda: infer_request(jpeg(0), model=""), Kind.NOT_FOUND, "no model ''"),
        (lambda: infer_request(jpeg(0), name="x"), Kind.INVALID, "no input 'x'"),
        (lambda: infer_request(jpeg(0), datatype="FP32"), Kind.INVALID, "is BYTES"),
        (lambda: infer_request(jpeg(0), shape=[]), Kind.INVALID, r"is \[N\]"),
        (lambda: infer_request(jpeg(0), shape=[-1]), Kind.INVALID, "-1"),
        (lambda: infer_request(jpeg(0), shape=[0]), Kind.INVALID, "no image"),
        (lambda: infer_request(jpeg(0), shape=[2]), Kind.INVALID, "1 elements, its shape says 2"),
        (lambda: infer_request(jpeg(0), jpeg(1), shape=[1]), Kind.INVALID, "follow its 1 elements"),
        (lambda: infer_request(raw=b"\1\0\0", shape=[1]), Kind.INVALID, "breaks off within its length"),
        (
            lambda: infer_request(raw=b"\xff\xff\xff\xff", shape=[1]),
            Kind.INVALID,
            "says that it has 4294967295",
        ),
        (lambda: infer_request(raw=elements(b"a") + b"\0", shape=[1]), Kind.INVALID, "1 bytes follow"),
        (lambda: infer_request(shape=[2**62, 4]), Kind.INVALID, r"2\^63"),
        (lambda: infer_request(shape=[65]), Kind.TOO_LARGE, "65 images"),
        (
            lambda: infer_request(name="images", datatype="UINT8", shape=[1, 2, 2, 3], raw=bytes(12)),
            Kind.INVALID,
            "got",
        ),
        (
            lambda: infer_request(name="images", datatype="UINT8", shape=[2**40, 128, 128, 3], raw=b""),
            Kind.TOO_LARGE,
            "images",
        ),
        (lambda: inference["ModelInferRequest"](), Kind.NOT_FOUND, "no model"),
        (changed(both), Kind.INVALID, "both contents and raw_input_contents"),
        (changed(without), Kind.INVALID, "neither contents nor raw_input_contents"),
        (changed(wrong_contents), Kind.INVALID, "comes in bytes_contents, got int_contents"),
        (changed(more_contents), Kind.INVALID, "has 1 elements, bytes_contents 2"),
        (changed(lambda r: r.raw_input_contents.append(b"")), Kind.INVALID, "2 raw_input_contents"),
        (large_level, Kind.INVALID, "from 0 to 255"),
        (changed(lambda r: r.outputs.add(name="x")), Kind.INVALID, "no output 'x'"),
        (changed(lambda r: r.outputs.add(name="scores")), Kind.INVALID, "asked for twice"),
        (
            changed(lambda r: setattr(r.outputs[0].parameters["classification"], "int64_param", 0)),
            Kind.INVALID,
            "at least 1",
        ),
        (
            changed(lambda r: setattr(r.outputs[0].parameters["classification"], "bool_param", True)),
            Kind.INVALID,
            "a whole number",
        ),
        (
            changed(lambda r: setattr(r.outputs[0].parameters["shared_memory_region"], "string_param", "m")),
            Kind.UNSUPPORTED,
            "shared memory",
        ),
        (
            changed(lambda r: setattr(r.inputs[0].parameters["shared_memory_region"], "string_param", "m")),
            Kind.UNSUPPORTED,
            "shared memory",
        ),
        (
            changed(lambda r: setattr(r.parameters["timeout"], "int64_param", -1)),
            Kind.INVALID,
            "microseconds",
        ),
        (changed(lambda r: r.parameters["nothing"]), Kind.INVALID, "has no value"),
    ],
)
def test_what_is_refused(
    stub: Stub, service: Service, make: Callable[[], Any], kind: Kind, words: str
) -> None:
    with pytest.raises(ServeError, match=words) as caught:
        read_request(make().SerializeToString(), service)
    assert caught.value.kind is kind
    np.testing.assert_allclose(array_of(stub.infer(jpeg(0)), "scores"), scores_of(jpeg(0)), atol=1e-5)
