"""Who may ask: an optional bearer token, TLS and mutual TLS, in one value for all three protocols."""

from __future__ import annotations

import hmac
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from ghostclas.errors import UsageError
from ghostclas.files import read_regular

_MAX_FILE = 2**20
_MIN_TOKEN = 16


class Certificates(NamedTuple):
    """PEM bytes: the server's chain, its key, and the authorities of the clients, if they must show one."""

    chain: bytes
    key: bytes
    client_authorities: bytes | None


@dataclass(frozen=True, slots=True)
class Security:
    """What a client must bring. By default nothing, since the server listens on the loopback address only.

    Attributes:
        token: of ``authorization: Bearer ...``; ``None`` asks for none.
        certificate: the file of the server's certificate chain, PEM; ``None`` is no TLS.
        key: the file of its private key, PEM.
        client_authorities: the file of the authorities that sign the clients' certificates, PEM; with it,
            clients must show one.
    """

    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    client_authorities: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS needs both --tls-certificate and --tls-key")
        if self.client_authorities is not None and self.certificate is None:
            raise UsageError("--tls-client-ca needs --tls-certificate and --tls-key, too")
        if self.token is not None and (
            len(self.token) < _MIN_TOKEN or not self.token.isascii() or not self.token.isprintable()
        ):
            raise UsageError(f"a token has at least {_MIN_TOKEN} printable ASCII characters, without blanks")

    @classmethod
    def read(
        cls,
        *,
        token_file: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        client_authorities: Path | None = None,
    ) -> Self:
        """Return the security of these files, after a look at each.

        Raises:
            UsageError: a file cannot be read, or is not what it should be.
        """
        token = None
        if token_file is not None:
            try:
                token = read_regular(token_file, _MAX_FILE).decode("ascii").strip()
            except (OSError, ValueError) as error:
                raise UsageError(f"the token cannot be read from {token_file}: {error}") from None
        security = cls(token, certificate, key, client_authorities)
        security.context()
        return security

    @property
    def tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.certificate is not None

    def allows(self, authorization: str | None) -> bool:
        """Return whether an ``authorization`` header is ``Bearer``, in any case, and the token."""
        if self.token is None:
            return True
        scheme, _, token = (authorization or "").strip().partition(" ")
        return scheme.lower() == "bearer" and self.allows_token(token.strip())

    def allows_token(self, token: str | bytes) -> bool:
        """Return whether this is the token, in a time that does not depend on it."""
        if self.token is None:
            return True
        given = token.encode("utf-8", "surrogatepass") if isinstance(token, str) else token
        return hmac.compare_digest(given, self.token.encode())

    def context(self) -> ssl.SSLContext | None:
        """Return the context of Python's TLS, TLS 1.2 or later; ``None`` without TLS.

        Raises:
            UsageError: a file cannot be read, or the key is not the certificate's.
        """
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password: a prompt would stop the server.
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"TLS cannot start with {self.certificate} and {self.key}: {_reason(error)}"
            ) from None
        if self.client_authorities is not None:
            try:
                context.load_verify_locations(self.client_authorities)
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"the authorities of the clients cannot be read from {self.client_authorities}: "
                    f"{_reason(error)}"
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def certificates(self) -> Certificates | None:
        """Return the PEM bytes for runtimes that take no context; ``None`` without TLS.

        Raises:
            UsageError: a file cannot be read.
        """
        if self.certificate is None or self.key is None:
            return None
        try:
            return Certificates(
                read_regular(self.certificate, _MAX_FILE),
                read_regular(self.key, _MAX_FILE),
                None if self.client_authorities is None else read_regular(self.client_authorities, _MAX_FILE),
            )
        except OSError as error:
            raise UsageError(f"TLS cannot start: {error.filename}: {error.strerror}") from None


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def exposure(host: str, security: Security) -> str | None:
    """Return the warning of a server that others can reach, or ``None``."""
    if is_loopback(host):
        return None
    missing = [
        what
        for what, there in (
            ("token (--token-file)", security.token),
            ("TLS (--tls-certificate)", security.tls),
        )
        if not there
    ]
    if not missing or (security.client_authorities is not None):
        return None
    return f"warning: {host} can be reached from other machines, without a {' or '.join(missing)}"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
