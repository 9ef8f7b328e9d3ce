"""Downloads over a real server on this machine: verified, repeated, and the same file ever after."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest

from ghostclas import download as module
from ghostclas.cache import CACHE_VARIABLE
from ghostclas.download import CHECKSUMS, download
from ghostclas.errors import BundleError, DataError
from tests.downloads import CONTENT, Handler, Server


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} if cache.exists() else set()


def test_a_file_is_downloaded_once_and_recorded(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "new" / "cache"
    file = download(server.url, "x.pdparams", cache=cache)
    assert file == cache / "x.pdparams"
    assert file.read_bytes() == CONTENT
    assert json.loads((cache / CHECKSUMS).read_text()) == {server.url: _sha256(CONTENT)}
    assert download(server.url, "x.pdparams", cache=cache) == file
    assert server.asked == 1
    assert _files(cache) == {"x.pdparams", CHECKSUMS}
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "downloading weights.pdparams\ndownloaded weights.pdparams\n"


def test_a_published_checksum_is_enforced_the_first_time(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"not the file that was published .sha256 {'0' * 64}"):
        download(server.url, "x.pdparams", sha256="0" * 64, cache=tmp_path)
    assert _files(tmp_path) == set()

    file = download(server.url, "x.pdparams", sha256=_sha256(CONTENT), cache=tmp_path)
    assert file.read_bytes() == CONTENT
    assert _files(tmp_path) == {"x.pdparams"}


def test_a_file_that_changes_on_the_server_is_refused(server: Server, tmp_path: Path) -> None:
    file = download(server.url, "x.pdparams", cache=tmp_path)
    file.unlink()
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(BundleError, match="not what it sent the first time") as error:
        download(server.url, "x.pdparams", cache=tmp_path)
    assert str(tmp_path / CHECKSUMS) in str(error.value)
    assert _files(tmp_path) == {CHECKSUMS}


def test_a_file_that_changes_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    file = download(server.url, "x.pdparams", cache=tmp_path)
    file.write_bytes(CONTENT[:-1])
    assert download(server.url, "x.pdparams", cache=tmp_path).read_bytes() == CONTENT
    assert server.asked == 2


def test_a_file_put_there_by_hand_is_recorded(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pdparams").write_bytes(b"by hand")
    assert download(server.url, "x.pdparams", cache=tmp_path).read_bytes() == b"by hand"
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == {server.url: _sha256(b"by hand")}
    assert server.asked == 0


def test_an_interrupted_download_starts_again(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.breaks = [600_000, 300_000]
    assert download(server.url, "x.pdparams", cache=tmp_path).read_bytes() == CONTENT
    assert server.asked == 3
    assert capfd.readouterr().err == "downloading weights.pdparams\ndownloaded weights.pdparams\n"


def test_two_versions_are_never_joined(server: Server, tmp_path: Path) -> None:
    """The file is replaced while it is being downloaded: the rest of the new one must not follow the old."""
    newer = CONTENT[::-1]
    server.breaks = [600_000]
    original = Handler.do_GET

    def replaced_after_the_first(self: Handler) -> None:
        if self.server.asked == 1:
            self.server.content = newer
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "do_GET", replaced_after_the_first)
        assert download(server.url, "x.pdparams", cache=tmp_path).read_bytes() == newer


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_far_too_large_is_refused(
    announced: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", len(CONTENT) - 1)
    server.announces_length = announced
    with pytest.raises(DataError, match=r"weights\.pdparams: larger than 0\.0 GB"):
        download(server.url, "x.pdparams", cache=tmp_path)
    assert server.asked == 1
    assert _files(tmp_path) == set()


def test_a_file_that_is_always_cut_short_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.breaks = [1000] * module.ATTEMPTS
    with pytest.raises(DataError, match=r"cannot be downloaded .*download it by hand to .*x\.pdparams"):
        download(server.url, "x.pdparams", cache=tmp_path)
    assert server.asked == module.ATTEMPTS
    assert _files(tmp_path) == set()


def test_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(DataError, match="the server answered 404"):
        download(server.url, "x.pdparams", cache=tmp_path)
    assert server.asked == 1
    assert _files(tmp_path) == set()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int, server: Server, tmp_path: Path) -> None:
    server.statuses = [status, status]
    assert download(server.url, "x.pdparams", cache=tmp_path).read_bytes() == CONTENT
    assert server.asked == 3


def test_being_offline_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x.pdparams"
        with pytest.raises(DataError, match="check the connection, or download it by hand to") as error:
            download(url, "x.pdparams", cache=tmp_path)
    assert url in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"url": 3}', "\xff", "[" * 100_000])
def test_damaged_records_are_refused(content: str, server: Server, tmp_path: Path) -> None:
    (tmp_path / CHECKSUMS).write_bytes(content.encode("latin-1"))
    with pytest.raises(BundleError, match=rf"{CHECKSUMS} is damaged: remove it"):
        download(server.url, "x.pdparams", cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=f"cannot write the cache .*set {CACHE_VARIABLE} to a directory"):
        download(server.url, "x.pdparams", cache=tmp_path / "file" / "cache")
