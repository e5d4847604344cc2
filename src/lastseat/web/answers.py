"""Builds the good answers: JSON bytes with their headers, and ETags for bodies that many share; reads no store."""

import hashlib

import msgspec
from fastapi import Request, Response

PRIVATE = "no-store"
# A copy may be kept and must be asked about: a read after an answered write shows the write.
SHARED = "no-cache"

# Limit: filters make a few bodies at a time; a body is kept until 64 others came.
_KNOWN_MOST = 64


def private(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON for one person only: never stored on the way."""
    return _json(body, status, {"cache-control": PRIVATE, **(headers or {})})


def encoded(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Like `private`, from a value."""
    return private(msgspec.json.encode(value), status, headers)


class SharedBodies:
    """Answers with bodies that many requests share; digests each body object once."""

    def __init__(self) -> None:
        self._tags: dict[int, tuple[bytes, str]] = {}

    def answer(self, request: Request, body: bytes) -> Response:
        """200 with the body, or 304 when the caller holds the same one."""
        tag = self.tag(body)
        headers = {"cache-control": SHARED, "etag": tag}
        asked = request.headers.get("if-none-match")
        if asked is not None and (asked == "*" or tag in (part.strip() for part in asked.split(","))):
            return Response(status_code=304, headers=headers)
        return _json(body, 200, headers)

    def tag(self, body: bytes) -> str:
        """A weak ETag. The body is kept with its tag, so that its identity stays its own meanwhile."""
        known = self._tags.get(id(body))
        if known is not None:
            return known[1]
        if len(self._tags) >= _KNOWN_MOST:
            del self._tags[next(iter(self._tags))]
        tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        self._tags[id(body)] = (body, tag)
        return tag


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status_code=status, media_type="application/json", headers=headers)
