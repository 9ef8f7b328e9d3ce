"""Verified downloads into a cache, which returns the same file from then on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ghostclas.cache import CACHE_VARIABLE, cache_directory
from ghostclas.errors import BundleError, DataError
from ghostclas.files import read_regular, write_text
from ghostclas.progress import ProgressLine

CHECKSUMS = "checksums.json"
ATTEMPTS = 4
BACKOFF_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
MAX_BYTES = 1_000_000_000

_CHUNK = 1 << 18
_MAX_CHECKSUMS = 1 << 20
_PASSING_STATUSES = frozenset({408, 429, *range(500, 600)})
_ELSEWHERE = f"set {CACHE_VARIABLE} to a directory that can be written"


def download(url: str, name: str, *, sha256: str | None = None, cache: str | Path | None = None) -> Path:
    """Return the file at ``url``, kept as ``name`` in the cache; download it if it is missing or damaged.

    The file is checked against ``sha256``. Where that is ``None``, the sha256 of the first download is
    recorded in the cache and enforced from then on. Progress goes to stderr. A download whose connection
    breaks starts again, a few times.

    Raises:
        DataError: the download failed, is larger than ``MAX_BYTES``, or the cache cannot be written; the
            message says how to go on.
        BundleError: what came is not the file that was published or recorded, or the records are damaged.
    """
    import pooch  # type: ignore[import-untyped]

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
    progress = _Progress(url)
    downloader = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=_CHUNK,
        timeout=TIMEOUT_SECONDS,
        # Compressed on the way, a file would not have the announced length.
        headers={"Accept-Encoding": "identity"},
    )

    def retrieve() -> None:
        progress.reset()
        pooch.retrieve(url, known, fname=file.name, path=file.parent, downloader=downloader)

    try:
        _repeatedly(retrieve)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise DataError(f"{url}: the server answered {status}; {_by_hand(file)}") from None
    except requests.RequestException as error:
        reason = f"{type(error).__name__} after {ATTEMPTS} attempts"
        raise DataError(f"{url}: cannot be downloaded ({reason}); {_by_hand(file)}") from None
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


def _repeatedly(retrieve: Callable[[], None]) -> None:
    """Call ``retrieve`` until it succeeds or could not succeed the next time, at most ``ATTEMPTS`` times."""
    import requests

    for attempt in range(1, ATTEMPTS + 1):
        try:
            retrieve()
        except requests.RequestException as error:
            # A server's "not found" stays what it is.
            passes = error.response is None or error.response.status_code in _PASSING_STATUSES
            if attempt == ATTEMPTS or not passes:
                raise
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        else:
            return


class _Progress:
    """The progress bar that pooch's downloader drives; it refuses a file beyond ``MAX_BYTES``.

    Attributes:
        total: bytes that the server announced, 0 if it did not; pooch sets it.
    """

    def __init__(self, url: str) -> None:
        self.total = 0
        self._url = url
        self._name = Path(url).name
        self._done = 0
        self._line = ProgressLine()
        self._started = False

    def update(self, count: int) -> None:
        """Take note of ``count`` bytes more; the last count of a file may be too large."""
        if not self._started:
            self._started = True
            self._line.say(f"downloading {self._name}")
        self._done += count
        if max(self.total, self._done) > MAX_BYTES:
            raise DataError(f"{self._url}: larger than {MAX_BYTES / 1e9:.1f} GB, so it is no file of ours")
        done = min(self._done, self.total) if self.total else self._done
        percent = f", {done * 100 // self.total} %" if self.total else ""
        self._line.step(f"downloading {self._name}: {done / 1e6:.1f} MB{percent}")

    def reset(self) -> None:
        """Start counting again."""
        self._done = 0

    def close(self) -> None:
        """Report that the file is complete."""
        self._line.say(f"downloaded {self._name}")


def _read_checksums(directory: Path) -> dict[str, str]:
    file = directory / CHECKSUMS
    try:
        recorded = json.loads(read_regular(file, _MAX_CHECKSUMS))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; {_ELSEWHERE}") from None
    except (ValueError, RecursionError):
        recorded = None
    if not isinstance(recorded, dict) or not all(isinstance(value, str) for value in recorded.values()):
        raise BundleError(f"{file} is damaged: remove it, and the files beside it if you doubt them")
    return recorded


def _write_checksums(file: Path, text: str) -> None:
    try:
        write_text(file, text)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}; {_ELSEWHERE}") from None
