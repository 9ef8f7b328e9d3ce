"""Good requests of every kind, damaged at random: each gets a designed answer, and others get theirs."""

from __future__ import annotations

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from random import Random

import pytest

from tests.serve.brpc.client import picture
from tests.serve.http.servers import HttpServer, http_server, parse, read_all
from tests.serve.http.uploads import (
    JSON,
    element,
    encoded_input,
    multipart,
    pixels,
    pixels_input,
    text,
    with_tail,
)
from tests.serve.served import jpeg

INFER = "/v2/models/default/infer"
STATUSES = {200, 400, 404, 405, 408, 413, 415, 431, 501, 504}
WORDS = (
    b"\xff\xff\xff\xff",
    bytes(4),
    b"-1",
    b"99999999999",
    b"null",
    b"[[[[",
    b"{}",
    b"true",
    b"1e9",
    b"\r\n",
)


@cache
def good_requests() -> list[tuple[str, bytes, dict[str, str]]]:
    photo, raw = jpeg(1), pixels(1)
    tail = element(photo)
    best = {"name": "scores", "parameters": {"classification": 2, "binary_data": True}}
    return [
        ("/predict?top=3", photo, {"Content-Type": "image/jpeg"}),
        ("/predict", gzip.compress(photo, mtime=0), {"Content-Encoding": "gzip"}),
        ("/predict", *multipart(photo, photo)),
        ("/predict", json.dumps({"images": [text(photo)]}).encode(), JSON),
        (INFER, *with_tail({"inputs": [encoded_input(1, len(tail))], "outputs": [best]}, tail)),
        (INFER, *with_tail({"inputs": [pixels_input([1, 128, 128, 3], raw.nbytes)]}, raw.tobytes())),
        (INFER, json.dumps({"id": "a", "inputs": [encoded_input(1, data=[text(photo)])]}).encode(), JSON),
        ("/GeneralModelService/inference", picture(photo), {"Content-Type": "application/proto"}),
        ("/imagenet/prediction", json.dumps({"key": ["image"], "value": [text(photo)]}).encode(), JSON),
    ]


def damaged(data: bytes, random: Random) -> bytes:
    """Return the bytes with a few of them changed, inserted, removed, repeated or cut off."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(out) + 1)
        match random.randrange(6):
            case 0:
                out[at : at + 1] = random.randbytes(1)
            case 1:
                out[at:at] = random.randbytes(random.randrange(1, 9))
            case 2:
                del out[at : at + random.randrange(1, 30)]
            case 3:
                out[at : at + 4] = random.choice(WORDS)
            case 4:
                del out[at:]
            case _:
                again = random.randrange(len(out) + 1)
                out[at:at] = out[again : again + random.randrange(40)]
    return bytes(out)


def mutant(random: Random) -> bytes:
    """Return a request whose head, or the first part of whose body, is damaged."""
    path, body, headers = random.choice(good_requests())
    if random.random() < 0.75:
        # Structure comes first; a photo that is damaged far behind is only a bad photo.
        cut = min(len(body), random.choice((200, 600, len(body))))
        body = damaged(body[:cut], random) + body[cut:]
        damage_head = False
    else:
        damage_head = True
    named = {**headers, "Host": "a", "Connection": "close", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()
    return (damaged(head, random) if damage_head else head) + body


def send(server: HttpServer, seed: int) -> int:
    client = server.connect()
    client.sendall(mutant(Random(seed)))
    received = read_all(client)
    *_, last = re.finditer(rb"HTTP/1\.1 \d{3} ", received)
    reply = parse(received[last.start() :])
    if reply.status != 200:
        assert reply.error
    return reply.status


@pytest.mark.parametrize("count", [200, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_requests_get_designed_answers(count: int) -> None:
    short = {"header_seconds": 0.3, "body_seconds": 0.3, "idle_seconds": 0.3}
    with http_server(**short) as server, ThreadPoolExecutor(24) as pool:  # type: ignore[arg-type]
        found = list(pool.map(lambda seed: send(server, seed), range(count)))
        assert set(found) <= STATUSES
        assert {200, 400} <= set(found)
        assert [record for record in server.records if record.kind == "failed"] == []
        server.assert_answers()
