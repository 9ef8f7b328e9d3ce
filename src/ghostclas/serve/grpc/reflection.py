"""gRPC's standard reflection: generic clients learn services and messages from the server itself.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md, in its version 1 and in the older v1alpha.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc import StatusCode

from ghostclas.serve.failures import ServeError
from ghostclas.serve.grpc.calls import STATUS, Call, Site, parsed
from ghostclas.serve.protos import FILES, POOL

_SECONDS = 0.5
"""How often an open stream looks whether the server drains."""


def info(site: Site, messages: dict[str, Any], services: tuple[str, ...]) -> Any:
    """Return gRPC's function of ``ServerReflectionInfo``.

    Args:
        site: what calls share.
        messages: the classes of this version.
        services: the full names of what the server offers.
    """

    async def serve(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        try:
            Call(site, context).check_token()
            async for data in _until_drained(site, requests):
                yield answer(messages, services, data)
        except ServeError as error:
            await context.abort(STATUS[error.kind], error.message)

    return serve


async def _until_drained(site: Site, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the requests of a stream, and end it with the server: clients leave it open for long."""
    coming = asyncio.ensure_future(_next(requests))
    try:
        while not site.service.draining:
            done, _ = await asyncio.wait((coming,), timeout=_SECONDS)
            if done:
                data = coming.result()
                if data is None:
                    return
                yield data
                coming = asyncio.ensure_future(_next(requests))
    finally:
        coming.cancel()


async def _next(requests: AsyncIterator[bytes]) -> bytes | None:
    return await anext(requests, None)


def answer(messages: dict[str, Any], services: tuple[str, ...], data: bytes) -> bytes:
    """Return the answer to one ``ServerReflectionRequest``.

    Raises:
        ServeError: INVALID; the bytes are no such message.
    """
    request = parsed(messages["ServerReflectionRequest"], data)
    response = messages["ServerReflectionResponse"](valid_host=request.host, original_request=request)
    match request.WhichOneof("message_request"):
        case "list_services":
            for service in services:
                response.list_services_response.service.add(name=service)
        case "file_by_filename":
            _tell(response, FILES.get(request.file_by_filename))
        case "file_containing_symbol":
            _tell(response, _file_of(request.file_containing_symbol))
        case "all_extension_numbers_of_type" if _is_message(request.all_extension_numbers_of_type):
            response.all_extension_numbers_response.base_type_name = request.all_extension_numbers_of_type
        case None:
            _refuse(response, StatusCode.INVALID_ARGUMENT, "the request asks for nothing")
        case _:
            _tell(response, None)
    return bytes(response.SerializeToString())


def _tell(response: Any, file: bytes | None) -> None:
    if file is None:
        _refuse(response, StatusCode.NOT_FOUND, "there is no such file, symbol or extension")
    else:
        response.file_descriptor_response.file_descriptor_proto.append(file)


def _refuse(response: Any, status: StatusCode, message: str) -> None:
    response.error_response.error_code = status.value[0]
    response.error_response.error_message = message


def _file_of(symbol: str) -> bytes | None:
    try:
        return FILES[POOL.FindFileContainingSymbol(symbol).name]
    except KeyError:
        return None


def _is_message(name: str) -> bool:
    try:
        POOL.FindMessageTypeByName(name)
    except KeyError:
        return False
    return True
