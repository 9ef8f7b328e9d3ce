"""Who may ask."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ghostclas.errors import UsageError
from ghostclas.serve.security import Security, exposure, is_loopback
from tests.serve.certificates import make_certificate

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer x", False),
        (f"Bearer {TOKEN}x", False),
        ("Bearer \udcff\u00e9", False),
        ("", False),
        (None, False),
    ],
)
def test_the_token_alone_opens_the_door(header: str | None, allowed: bool) -> None:
    assert Security(token=TOKEN).allows(header) is allowed
    assert Security().allows(header)


def test_the_token_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    security = Security.read(token_file=file)
    assert security.token == TOKEN
    assert TOKEN not in repr(security)
    assert security.allows_token(TOKEN.encode())
    assert not security.allows_token("")


@pytest.mark.parametrize(
    "content", ["", "short", "with blank in the middle\n and a line", "ümlaut-ümlaut-ümlaut"]
)
def test_a_token_that_no_header_could_carry_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError):
        Security.read(token_file=file)


def test_what_is_half_given_or_cannot_be_read_is_refused(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    chain, key = certificate
    other = tmp_path / "other.pem"
    for wrong in (
        {"certificate": chain},
        {"key": key},
        {"client_authorities": chain},
        {"token_file": tmp_path / "none"},
        {"certificate": chain, "key": tmp_path / "none"},
        {"certificate": key, "key": chain},
        {"certificate": chain, "key": key, "client_authorities": key},
        {"certificate": other, "key": key},
    ):
        with pytest.raises(UsageError):
            Security.read(**wrong)


def test_tls_is_of_this_decade_and_asks_clients_for_a_certificate_where_told(
    certificate: tuple[Path, Path],
) -> None:
    chain, key = certificate
    assert Security().context() is None
    assert Security().certificates() is None
    alone = Security.read(certificate=chain, key=key)
    context = alone.context()
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    mutual = Security.read(certificate=chain, key=key, client_authorities=chain)
    both = mutual.context()
    assert both is not None
    assert both.verify_mode == ssl.CERT_REQUIRED
    assert mutual.certificates() == (chain.read_bytes(), key.read_bytes(), chain.read_bytes())


def test_a_server_that_others_reach_without_a_door_is_warned_of(certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    for host in ("127.0.0.1", "localhost", "::1", "127.8.9.1"):
        assert is_loopback(host)
        assert exposure(host, Security()) is None
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", ""):
        assert not is_loopback(host)
        assert "without a token (--token-file) or TLS (--tls-certificate)" in (
            exposure(host, Security()) or ""
        )
    assert "TLS" in (exposure("::", Security(token=TOKEN)) or "")
    assert exposure("::", Security(TOKEN, chain, key)) is None
    assert exposure("::", Security(None, chain, key, chain)) is None
