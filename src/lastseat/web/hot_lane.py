"""Answers the GETs that a crowd sends, below the framework, when no store need be asked; else leaves them to it.

They are still logged, counted and limited like all others, and described in OpenAPI; only the way is shorter.
"""

import time
from typing import Final

from starlette.types import Scope

from lastseat.model import ExamId
from lastseat.reads.edition import Edition
from lastseat.web import access
from lastseat.web.access import AccessLog, What
from lastseat.web.limits import Limits
from lastseat.web.prepared import Message, Prepared
from lastseat.web.services import LiveExams
from lastseat.web.wanted import names_tag, said, takes_gzip

AVAILABLE: Final = "/api/mock-exams/available"
CAPACITY: Final = "/api/mock-exams/{exam_id}/capacity"
_BEFORE, _AFTER = CAPACITY.split("{exam_id}")
EMPTY: Final[Message] = {"type": "http.response.body", "body": b""}
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
READY_MOST: Final = 2_000  # Limit: answers kept at once
MAY_REPEAT: Final = frozenset({b"accept-encoding", b"if-none-match"})
"""Headers that are lists, which a caller may send in several lines."""


Answer = tuple[Message, Message]
"""The two ASGI messages of an answer: its start, and its body."""


class _Ready:
    """What a path was answered with, and is again until its edition is over."""

    __slots__ = ("edition", "held", "prepared", "whole")

    def __init__(self, route: str, prepared: Prepared, edition: Edition) -> None:
        self.prepared = prepared
        self.edition = edition
        self.whole: What = (route, "GET", 200)
        self.held: What = (route, "GET", 304)


class HotLane:
    """One per process. Nothing here waits."""

    def __init__(self, live: LiveExams, *, access: AccessLog, limits: Limits) -> None:
        self._live = live
        self._access = access
        self._limits = limits
        self._ready: dict[str, _Ready] = {}

    def answer(self, scope: Scope) -> Answer | None:
        """The whole answer, or None when this request takes the long way."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        began_at = time.monotonic()
        path: str = scope["path"]
        ready = self._ready.get(path)
        if ready is None or began_at >= ready.edition.until:
            ready = self._look(path, ready)
            if ready is None:
                return None
        client = scope["client"]
        if client is not None and not self._limits.admits_address(client[0]):
            return None
        ready.edition.given_at.append(began_at)
        lines: list[tuple[bytes, bytes]] = scope["headers"]
        asked = dict(lines)
        if len(asked) < len(lines):  # some header has two lines
            asked |= {name: said(lines, name) for name in asked if name in MAY_REPEAT}
        request_id = access.request_id(asked.get(b"x-request-id"))
        prepared, what = ready.prepared, ready.whole
        headers, message = prepared.headers, prepared.message
        tag = asked.get(b"if-none-match")
        if tag is not None and (tag == prepared.tag or names_tag(tag, prepared.tag)):
            what, headers, message = ready.held, prepared.unchanged, EMPTY
        elif takes_gzip(asked.get(b"accept-encoding", b"")):
            headers, message = prepared.squeezed()
        self._access.note(request_id, what, began_at)
        start = {
            "type": "http.response.start",
            "status": what[2],
            "headers": [*headers, NOSNIFF, (b"x-request-id", request_id)],
        }
        return start, message

    def _look(self, path: str, before: _Ready | None) -> _Ready | None:
        """What is at hand for this path now."""
        if path == AVAILABLE:
            route, at_hand = AVAILABLE, self._live.available_at_hand()
        elif path.startswith(_BEFORE) and path.endswith(_AFTER):
            route, at_hand = CAPACITY, self._live.capacity_at_hand(ExamId(path[len(_BEFORE) : -len(_AFTER)]))
        else:
            return None
        if at_hand is None:
            return None
        body, edition = at_hand
        if before is not None and before.prepared.body is body:
            before.edition = edition
            return before
        if len(self._ready) >= READY_MOST:
            self._ready.clear()
        ready = self._ready[path] = _Ready(route, Prepared(body), edition)
        return ready
