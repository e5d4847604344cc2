"""The control endpoints under `/_emulator`; loopback only, counted against no limit, never logged."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from hubspot_emulator.calls import Landed
from hubspot_emulator.context import Context
from hubspot_emulator.failures import ApiError
from hubspot_emulator.faults import Fate
from hubspot_emulator.page import PAGE
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.portal import Event, ObjectType, Portal, Record
from hubspot_emulator.seeding import Seed, kind_named
from hubspot_emulator.settings import with_changes

LIMIT_NAMES = {"limit": "calls"}


class Control:
    """What tests, tools and the page may ask of a running emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._table: dict[tuple[str, str], Callable[[web.BaseRequest, bytes], object]] = {
            ("GET", "health"): self._health,
            ("GET", "requests"): self._requests,
            ("GET", "state"): self._state,
            ("GET", "settings"): self._settings,
            ("GET", "faults"): self._settings,
            ("POST", "reset"): self._reset,
            ("POST", "seed"): self._seed,
            ("POST", "limits"): self._limits,
            ("POST", "switches"): self._switches,
            ("POST", "faults"): self._faults,
            ("POST", "snapshot"): self._snapshot,
        }

    async def serve(self, request: web.BaseRequest, *, local: bool) -> web.StreamResponse:
        """Answers one control request."""
        if not local:
            return _json(403, {"error": "the control endpoints answer this machine only"})
        name = request.rel_url.path.removeprefix("/_emulator").strip("/")
        if not name:
            return web.Response(text=PAGE, content_type="text/html")
        found = self._table.get((request.method, name))
        if found is None:
            known = sorted({f"{method} /_emulator/{one}" for method, one in self._table})
            return _json(404, {"error": f"no such control endpoint; known are: {', '.join(known)}"})
        try:
            return _json(200, found(request, await request.content.read()))
        except ApiError as problem:
            return _json(400, {"error": problem.message})
        except (ValueError, TypeError) as problem:
            return _json(400, {"error": str(problem)})

    def _health(self, _request: web.BaseRequest, _body: bytes) -> dict[str, Any]:
        emulator = self.emulator
        return {
            "status": "ok",
            "portal_id": emulator.store.portal.id,
            "requests": len(emulator.store.calls),
            "in_flight": emulator.in_flight,
            "landing": len(emulator.landing),
        }

    def _requests(self, request: web.BaseRequest, _body: bytes) -> dict[str, Any]:
        since = int(request.rel_url.query.get("since", "0"))
        found = sorted((one for one in self.emulator.store.calls if one.seq > since), key=lambda one: one.seq)
        return {
            "requests": found,
            "last_seq": self.emulator.store.last_seq,
            "in_flight": self.emulator.in_flight,
            "landing": len(self.emulator.landing),
        }

    def _state(self, request: web.BaseRequest, _body: bytes) -> dict[str, Any]:
        return state(self.emulator.store.portal, request.rel_url.query.get("type"))

    def _settings(self, _request: web.BaseRequest, _body: bytes) -> dict[str, Any]:
        emulator = self.emulator
        now = emulator.clock.now()
        return {
            "limits": emulator.budget.limits,
            "switches": emulator.switches,
            "faults": emulator.faults.shown(),
            "seed": emulator.faults.seed,
            "budget": {app: emulator.budget.headers(app, now) for app in emulator.budget.apps},
        }

    def _reset(self, _request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        sent = _sent(body)
        emulator = self.emulator
        ctx = self._context()
        keep = {kind_named(ctx, str(name)).id for name in sent.get("keep", [])}
        emulator.start_over(kept_events(emulator.store.portal, keep))
        return {"status": "reset", "kept": sorted(keep)}

    def _seed(self, _request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        try:
            seed = msgspec.json.decode(body, type=Seed)
        except msgspec.MsgspecError as problem:
            raise ValueError(str(problem)) from None
        return {"ids": self.emulator.sow(seed)}

    def _context(self) -> Context:
        emulator = self.emulator
        return Context(emulator.store.portal, emulator.index, emulator.switches, emulator.clock.now(), Fate().dice)

    def _limits(self, request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        sent = {LIMIT_NAMES.get(name, name): value for name, value in _sent(body).items()}
        self.emulator.budget.limits = with_changes(self.emulator.budget.limits, sent)
        return self._settings(request, b"")

    def _switches(self, request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        self.emulator.set_switches(with_changes(self.emulator.switches, _sent(body)))
        return self._settings(request, b"")

    def _faults(self, request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        sent = _sent(body)
        self.emulator.set_faults(str(sent.get("faults", "")), int(sent.get("seed", self.emulator.seed)))
        return self._settings(request, b"")

    def _snapshot(self, _request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        path = Path(str(_sent(body).get("file", "")))
        if not path.is_absolute():
            raise ValueError("'file' must be an absolute path")
        save_snapshot(self.emulator.store.portal, path, self.emulator.clock.now())
        return {"status": "saved", "file": str(path)}


def _sent(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as problem:
        raise ValueError(str(problem)) from None


def _json(status: int, data: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(data), content_type="application/json")


def kept_events(portal: Portal, keep: set[str]) -> Iterable[Event]:
    """The events of a portal with its definitions and only the records of the kept types."""
    for event in portal.as_events():
        if event[0] in ("put", "archive", "merge") and event[1] not in keep:
            continue
        if event[0] == "link" and not {event[1], event[3]} <= keep:
            continue
        yield event


def save_snapshot(portal: Portal, path: Path, at: float) -> None:
    """Writes everything a portal holds into one file, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(msgspec.json.encode(Landed(at=at, ev=list(portal.as_events()))) + b"\n")
    fresh.replace(path)


def state(portal: Portal, only: str | None = None) -> dict[str, Any]:
    """Every record by object type id, archived ones too, each with its associations."""
    kinds = [kind for kind in portal.types.values() if only in (None, kind.id, kind.name, kind.full_name)]
    return {
        "portal_id": portal.id,
        "names": {kind.id: kind.name for kind in portal.types.values()},
        "objects": {kind.id: [_record(portal, kind, record) for record in kind.from_id(0)] for kind in kinds},
    }


def _record(portal: Portal, kind: ObjectType, record: Record) -> dict[str, Any]:
    ends = portal.links.get((kind.id, record.id), {})
    return {
        "id": record.id,
        "properties": record.properties,
        "createdAt": record.properties[kind.created_name],
        "updatedAt": record.properties[kind.modified_name],
        "archived": record.archived_at is not None,
        "archivedAt": record.archived_at,
        "mergedInto": kind.merged.get(record.id),
        "associations": {
            other: [{"id": other_id, "typeIds": sorted(ids)} for other_id, ids in found.items()]
            for other, found in ends.items()
            if found
        },
    }
