"""Reads a Redis URL; never shows its password."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from lastseat.errors import SetupError

_WAY_OUT = "Set REDIS_URL to redis://[user:password@]host[:port][/db], rediss://… for TLS, or unix://path."


@dataclass(frozen=True)
class Address:
    """Where Redis is and how to sign in."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    secure: bool = False
    verified: bool = True
    authority: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Understand `redis://`, `rediss://` and `unix://`, with the query names that redis-py knows."""
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise SetupError("REDIS_URL is not the URL of a Redis.", way_out=_WAY_OUT)
        try:
            parts = urlsplit(url)
            asked = dict(parse_qsl(parts.query))
            is_file = parts.scheme == "unix"
            database = asked.get("db") or ("0" if is_file else parts.path.strip("/")) or "0"
            return cls(
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 6379,
                path=unquote(parts.path) if is_file else None,
                database=int(database),
                user=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                secure=parts.scheme == "rediss",
                verified=asked.get("ssl_cert_reqs", "required") != "none",
                authority=asked.get("ssl_ca_certs"),
            )
        except ValueError:
            raise SetupError("REDIS_URL has a port or a database that is not a number.", way_out=_WAY_OUT) from None

    def tls(self) -> ssl.SSLContext | None:
        """How to encrypt, or None."""
        if not self.secure:
            return None
        context = ssl.create_default_context(cafile=self.authority)
        if not self.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def greeting(self) -> Iterator[tuple[str, ...]]:
        """The commands that must succeed before any other."""
        if self.password is not None:
            yield ("AUTH", self.user, self.password) if self.user else ("AUTH", self.password)
        if self.database:
            yield "SELECT", str(self.database)
