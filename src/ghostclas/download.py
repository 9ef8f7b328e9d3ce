"""Verified downloads into a cache: resumed when the connection breaks, and the same file ever after."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ghostclas.errors import BundleError, DataError
from ghostclas.files import write_text

if TYPE_CHECKING:
    import requests

CACHE_VARIABLE = "GHOSTCLAS_CACHE"
CHECKSUMS = "checksums.json"
ATTEMPTS = 4
BACKOFF_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0

_CHUNK = 1 << 18
_PARTIAL_CONTENT = 206
_PASSING_STATUSES = frozenset({408, 429, *range(500, 600)})
_ELSEWHERE = f"set {CACHE_VARIABLE} to a directory that can be written"


def cache_directory(cache: str | Path | None = None) -> Path:
    """Return where downloads are kept: ``cache``, else ``$GHOSTCLAS_CACHE``, else the platform's place."""
    if chosen := cache or os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    import pooch  # type: ignore[import-untyped]

    return Path(pooch.os_cache("ghostclas"))


def download(url: str, name: str, *, sha256: str | None = None, cache: str | Path | None = None) -> Path:
    """Return the file at ``url``, kept as ``name`` in the cache; download it if it is missing or damaged.

    The file is checked against ``sha256``. Where that is ``None``, the sha256 of the first download is
    recorded in the cache and enforced from then on. Progress goes to stderr. A broken connection is taken up
    again where it broke, if the server can.

    Raises:
        DataError: the download failed or the cache cannot be written; the message says how to go on.
        BundleError: what came is not the file that was published or recorded, or the records are damaged.
    """
    import pooch

    directory = cache_directory(cache)
    file = directory / name
    recorded = _read_checksums(directory)
    expected = sha256 or recorded.get(url)
    _retrieve(url, file, expected, published=sha256 is not None)
    if expected is None:
        digest = pooch.file_hash(str(file), alg="sha256")
        _write_checksums(directory / CHECKSUMS, json.dumps({**recorded, url: digest}, indent=2) + "\n")
    return file


def _retrieve(url: str, file: Path, expected: str | None, *, published: bool) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    known = None if expected is None else f"sha256:{expected}"
    try:
        pooch.retrieve(url, known, fname=file.name, path=file.parent, downloader=_fetch)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise DataError(f"{url}: the server answered {status}; {_by_hand(file)}") from None
    except (requests.RequestException, _IncompleteError) as error:
        raise DataError(f"{url}: cannot be downloaded ({_reason(error)}); {_by_hand(file)}") from None
    except OSError as error:
        raise DataError(f"cannot write the cache {file.parent}: {error.strerror}; {_ELSEWHERE}") from None
    except ValueError:
        # What pooch raises for a wrong hash; it has removed the download.
        if published:
            raise BundleError(
                f"{url}: what the server sent is not the file that was published (sha256 {expected})"
            ) from None
        raise BundleError(
            f"{url}: what the server sent is not what it sent the first time (sha256 {expected})\n"
            f"       if you know that it was replaced, remove its line from {file.parent / CHECKSUMS}"
        ) from None


def _by_hand(file: Path) -> str:
    return f"check the connection, or download it by hand to {file}"


def _reason(error: Exception) -> str:
    if isinstance(error, _IncompleteError):
        return str(error)
    return f"{type(error).__name__} after {ATTEMPTS} attempts"


class _IncompleteError(Exception):
    """The connection ended before the file did."""


def _fetch(url: str, output_file: str, _pooch: object) -> None:
    """Fetch ``url`` into ``output_file`` for pooch, continuing after a broken connection."""
    import requests

    progress = _Progress(Path(url).name)
    validator: str | None = None
    with Path(output_file).open("wb") as output:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                done = output.tell()
                # Without a validator the rest could come from another version of the file.
                headers = {"Range": f"bytes={done}-", "If-Range": validator} if done and validator else {}
                headers["Accept-Encoding"] = "identity"
                with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
                    response.raise_for_status()
                    if not _continues(response, done):
                        output.seek(0)
                        output.truncate()
                    validator = _validator(response)
                    _copy(response, output, progress)
            except (requests.RequestException, _IncompleteError) as error:
                if attempt == ATTEMPTS or not _may_pass(error):
                    raise
                time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            else:
                progress.end()
                return


def _copy(response: requests.Response, output: BinaryIO, progress: _Progress) -> None:
    start = output.tell()
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    for chunk in response.iter_content(_CHUNK):
        output.write(chunk)
        progress.show(output.tell(), total)
    if total is not None and output.tell() != total:
        raise _IncompleteError(
            f"the connection broke after {output.tell()} of {total} bytes, {ATTEMPTS} times"
        )


def _continues(response: requests.Response, done: int) -> bool:
    """Whether ``response`` is the rest of the file after ``done`` bytes, rather than all of it."""
    if response.status_code != _PARTIAL_CONTENT:
        return False
    if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
        raise _IncompleteError("the server sent another part of the file than the one asked for")
    return True


def _validator(response: requests.Response) -> str | None:
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _may_pass(error: Exception) -> bool:
    """Whether the next attempt could go better: a server's "not found" will not."""
    response = getattr(error, "response", None)
    return response is None or response.status_code in _PASSING_STATUSES


class _Progress:
    """How far a download is: one changing line on a terminal, two plain lines elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._percent = -1
        self._terminal = sys.stderr.isatty()
        if not self._terminal:
            sys.stderr.write(f"downloading {what}\n")

    def show(self, done: int, total: int | None) -> None:
        percent = done * 100 // total if total else 0
        if self._terminal and percent != self._percent:
            self._percent = percent
            sys.stderr.write(f"\rdownloading {self._what} {done / 1e6:.1f} MB, {percent} %")
            sys.stderr.flush()

    def end(self) -> None:
        sys.stderr.write("\n" if self._terminal else f"downloaded {self._what}\n")


def _read_checksums(directory: Path) -> dict[str, str]:
    file = directory / CHECKSUMS
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; {_ELSEWHERE}") from None
    except ValueError:
        recorded = None
    if not isinstance(recorded, dict) or not all(isinstance(value, str) for value in recorded.values()):
        raise BundleError(f"{file} is damaged: remove it, and the files beside it if you doubt them")
    return recorded


def _write_checksums(file: Path, text: str) -> None:
    try:
        write_text(file, text)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}; {_ELSEWHERE}") from None
