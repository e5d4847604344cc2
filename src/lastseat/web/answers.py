"""Builds the good answers: JSON bytes with their headers, and ETags for bodies that many share; reads no store."""

import msgspec
from fastapi import Request, Response

from lastseat.web.prepared import Headers, Prepared
from lastseat.web.wanted import names_tag, said, takes_gzip

PRIVATE = "no-store"

# Limit: filters make a few bodies at a time; a body is kept until 64 others came.
_KNOWN_MOST = 64


def private(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON for one person only: never stored on the way."""
    return _json(body, status, {"cache-control": PRIVATE, **(headers or {})})


def encoded(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Like `private`, from a value."""
    return private(msgspec.json.encode(value), status, headers)


class SharedBodies:
    """Answers with bodies that many requests share; prepares each body object once."""

    def __init__(self) -> None:
        self._prepared: dict[int, Prepared] = {}

    def answer(self, request: Request, body: bytes) -> Response:
        """200 with the body, compressed for who takes it, or 304 when the caller holds the same one."""
        prepared = self.prepared(body)
        lines = request.headers.raw
        if names_tag(said(lines, b"if-none-match"), prepared.tag):
            return _raw(304, prepared.unchanged, b"")
        if takes_gzip(said(lines, b"accept-encoding")):
            headers, message = prepared.squeezed()
            return _raw(200, headers, message["body"])
        return _raw(200, prepared.headers, body)

    def prepared(self, body: bytes) -> Prepared:
        """The body is kept with what was prepared, so that its identity stays its own meanwhile."""
        known = self._prepared.get(id(body))
        if known is None:
            if len(self._prepared) >= _KNOWN_MOST:
                del self._prepared[next(iter(self._prepared))]
            known = self._prepared[id(body)] = Prepared(body)
        return known


def _raw(status: int, headers: Headers, body: bytes) -> Response:
    response = Response(status_code=status)
    response.body = body
    response.raw_headers = list(headers)
    return response


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status_code=status, media_type="application/json", headers=headers)
