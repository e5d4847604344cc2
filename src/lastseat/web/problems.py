"""Says every error in one shape with one status per code; never shows a traceback, a host name or a secret."""

import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lastseat.errors import Code, LastseatError, Refused, Unavailable, Uncertain

ProblemCode = Code | Literal["INTERNAL"]

STATUS: dict[ProblemCode, int] = {
    "INVALID": 422,
    "INVALID_SYNC_TYPE": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "EXAM_NOT_FOUND": 404,
    "BOOKING_NOT_FOUND": 404,
    "BOOKING_NOT_ACTIVE": 409,
    "BOOKING_WITHOUT_CONTACT": 409,
    "SESSION_FULL": 409,
    "ALREADY_BOOKED": 409,
    "EXAM_CLOSED": 409,
    "KEY_REUSED": 422,
    "REFUSED_BY_HUBSPOT": 409,
    "CAPACITY_BELOW_SOLD": 409,
    "NOT_RETRYABLE": 409,
    "HAS_BOOKINGS": 409,
    "TOO_LARGE": 413,
    "TOO_MANY_REQUESTS": 429,
    "UNAVAILABLE": 503,
    "UNCERTAIN": 503,
    "SETUP": 503,
    "INTERNAL": 500,
}

# What the framework raises by itself, by its status.
_FRAMEWORK: dict[int, tuple[ProblemCode, str]] = {
    400: ("INVALID", "This request cannot be read."),
    401: ("UNAUTHENTICATED", "Sign in first."),
    403: ("FORBIDDEN", "This is not allowed for you."),
    404: ("NOT_FOUND", "There is nothing at this address."),
    405: ("METHOD_NOT_ALLOWED", "This address does not take this method."),
    413: ("TOO_LARGE", "The request is too large: at most 64 KiB."),
    422: ("INVALID", "This request cannot be read."),
    429: ("TOO_MANY_REQUESTS", "Too many requests; wait a moment."),
}

CLIENT_GONE = 499
"""Counted when the caller left before an answer began; no client ever sees it."""

UNAVAILABLE_TEXT = "The service cannot do this right now. Nothing was changed; please try again in a moment."
UNCERTAIN_TEXT = "It is not known whether this was done. Send the same request again with the same key."
INTERNAL_TEXT = "Something went wrong on our side. Asking again with the same key is safe."

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
_LOG_EVERY_S = 1.0

log = logging.getLogger("lastseat.web")


def problem(
    code: ProblemCode,
    message: str,
    *,
    field: str | None = None,
    details: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The one error answer: `{"success": false, "error": …, "code": …}` and, when present, `field`, `details`."""
    body: dict[str, object] = {"success": False, "error": message, "code": code}
    if field is not None:
        body["field"] = field
    if details:
        body["details"] = dict(details)
    return Response(
        msgspec.json.encode(body),
        status_code=STATUS[code],
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )


def of_error(error: LastseatError, request_id: str) -> Response:
    """Turn any of our errors into its answer; what an operator must know goes to the log, not to the student."""
    if isinstance(error, Refused):
        headers = _challenge(error) if error.code == "UNAUTHENTICATED" else None
        if error.code == "TOO_MANY_REQUESTS":
            headers = _retry_after(float(str(error.details.get("retry_after_s", 1))))
        return problem(error.code, error.message, field=error.field, details=error.details, headers=headers)
    _outages.tell(f"{error.code}: {error.message}", request_id)
    if isinstance(error, Unavailable):
        return problem(error.code, UNAVAILABLE_TEXT, headers=_retry_after(error.retry_after_s))
    if isinstance(error, Uncertain):
        return problem(error.code, UNCERTAIN_TEXT, headers=_retry_after(1.0))
    return problem(error.code, UNAVAILABLE_TEXT)


def of_framework(error: HTTPException) -> Response:
    """Turn an error of the framework's own into our shape."""
    code, message = _FRAMEWORK.get(error.status_code, ("INTERNAL", INTERNAL_TEXT))
    return problem(code, message, headers=error.headers)


def of_vanished() -> Response:
    """For a caller who hung up within the body: nobody reads this, and its status is what log and metrics count."""
    return Response(status_code=CLIENT_GONE)


def of_validation(errors: Sequence[Any]) -> Refused:
    """The first fault of pydantic's list as a refusal naming the field, its value and what is allowed."""
    first = errors[0]
    field = first.get("ctx", {}).get("field") or _field(first["loc"])
    if first["type"] == "json_invalid":
        return Refused("The body is not valid JSON.", field="body")
    if first["type"] == "missing":
        return Refused(f"{field} is missing.", field=field)
    if first["type"] == "extra_forbidden":
        return Refused(f"{field} is not a field of this request, or it is given twice.", field=field)
    if first["type"] == "lastseat":
        return Refused(f"{field} {first['msg']}.", field=field)
    value = printable(first.get("input"))
    return Refused(f"{field}: {value} is not allowed. {first['msg']}.", field=field)


def printable(value: object) -> str:
    """Somebody else's value, short and without control characters or surrogates."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def install(app: FastAPI) -> None:
    """Give every kind of error its answer; what nobody foresaw is answered by the edge."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, LastseatError)
        return of_error(error, request.state.request_id)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return of_error(of_validation(error.errors()), request.state.request_id)

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return of_framework(error)

    async def vanished(*_: object) -> Response:
        return of_vanished()

    app.add_exception_handler(LastseatError, ours)
    app.add_exception_handler(ClientDisconnect, vanished)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def _challenge(error: Refused) -> dict[str, str]:
    reason = ', error="invalid_token"' if error.field == "token" else ""
    return {"www-authenticate": f'Bearer realm="lastseat"{reason}'}


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def _field(loc: Sequence[str | int]) -> str:
    """`("body", "bookingIds", 3)` → `bookingIds.3`; a name that somebody else chose is made printable."""
    names = [str(part) for part in loc if part not in ("body", "query", "path", "header")]
    name = ".".join(names) or "body"
    return name if _PLAIN_NAME.fullmatch(name) else printable(name)


class _Outages:
    """Logs each sentence at most once a second: an outage in a rush is one fact, not two thousand lines."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def tell(self, sentence: str, request_id: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get(sentence, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        if len(self._told_at) > 100:
            self._told_at.clear()
        self._told_at[sentence] = now
        log.warning("%s (request %s)", sentence, request_id)


_outages = _Outages()
