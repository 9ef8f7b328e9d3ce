"""The parts of a multipart upload. Each part is an image, whatever its name; file names are ignored."""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ghostclas.serve.failures import Kind, ServeError


def read_parts(body: bytes, content_type: bytes, limit: int) -> list[bytes]:
    """Return the content of each part, in order.

    Args:
        body: the whole body.
        content_type: the header, with the boundary.
        limit: the most parts.

    Raises:
        ServeError: INVALID, the body breaks off or is no multipart; TOO_LARGE, it has more parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise _invalid("its content-type has no boundary")
    reader = _Reader(limit)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_part_data": reader.add,
                "on_end": reader.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _invalid(str(error)) from None
    if not reader.ended:
        raise _invalid("it breaks off before its last boundary")
    if not reader.parts:
        raise _invalid("it has no part; send at least one image")
    return [part[0] if len(part) == 1 else b"".join(part) for part in reader.parts]


class _Reader:
    """Takes what the parser calls back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.parts: list[list[bytes]] = []
        self.ended = False

    def begin(self) -> None:
        if len(self.parts) == self._limit:
            raise ServeError(Kind.TOO_LARGE, f"the multipart body has more than {self._limit} parts")
        self.parts.append([])

    def add(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].append(data[start:end])

    def end(self) -> None:
        self.ended = True


def _invalid(why: str) -> ServeError:
    return ServeError(Kind.INVALID, f"the multipart body cannot be read: {why}")
