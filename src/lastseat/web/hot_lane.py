"""Answers the GETs that a crowd sends, below the framework, when no store need be asked; else leaves them to it.

They are still logged, counted and limited like all others, and described in OpenAPI; only the way is shorter.
"""

import time
from typing import Final

from starlette.types import Scope

from lastseat.model import ExamId
from lastseat.web import access
from lastseat.web.access import AccessLog
from lastseat.web.limits import Limits
from lastseat.web.prepared import Message, Prepared
from lastseat.web.services import LiveExams

AVAILABLE: Final = "/api/mock-exams/available"
CAPACITY: Final = "/api/mock-exams/{exam_id}/capacity"
_BEFORE, _AFTER = CAPACITY.split("{exam_id}")
EMPTY: Final[Message] = {"type": "http.response.body", "body": b""}
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
KNOWN_MOST: Final = 2_000  # Limit: prepared bodies kept at once


Answer = tuple[Message, Message]
"""The two ASGI messages of an answer: its start, and its body."""


class HotLane:
    """One per process. Nothing here waits."""

    def __init__(self, live: LiveExams, *, access: AccessLog, limits: Limits) -> None:
        self._live = live
        self._access = access
        self._limits = limits
        self._prepared: dict[str, Prepared] = {}

    def answer(self, scope: Scope) -> Answer | None:
        """The whole answer, or None when this request takes the long way."""
        path: str = scope["path"]
        if path == AVAILABLE:
            route = AVAILABLE
        elif path.startswith(_BEFORE) and path.endswith(_AFTER):
            route = CAPACITY
        else:
            return None
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        started = time.perf_counter()
        body = (
            self._live.available_at_hand()
            if route is AVAILABLE
            else self._live.capacity_at_hand(ExamId(path[len(_BEFORE) : -len(_AFTER)]))
        )
        client = scope["client"]
        if body is None or (client is not None and not self._limits.admits_address(client[0])):
            return None
        self._live.given()
        prepared = self._prepared.get(path)
        if prepared is None or prepared.body is not body:
            prepared = self._prepare(path, body)
        return self._said(scope, route, prepared, started)

    def _said(self, scope: Scope, route: str, prepared: Prepared, started: float) -> Answer:
        asked: dict[bytes, bytes] = dict(scope["headers"])
        request_id = access.request_id(asked.get(b"x-request-id"))
        status, headers, message = 200, prepared.headers, prepared.message
        tag = asked.get(b"if-none-match")
        if tag is not None and prepared.held_by(tag):
            status, headers, message = 304, prepared.unchanged, EMPTY
        elif b"gzip" in asked.get(b"accept-encoding", b""):
            headers, message = prepared.squeezed()
        took_s = time.perf_counter() - started
        self._access.note(request_id, "GET", route, status, took_s)
        start = {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, NOSNIFF, (b"x-request-id", request_id.encode())],
        }
        return start, message

    def _prepare(self, path: str, body: bytes) -> Prepared:
        if len(self._prepared) >= KNOWN_MOST:
            self._prepared.clear()
        prepared = self._prepared[path] = Prepared(body)
        return prepared
