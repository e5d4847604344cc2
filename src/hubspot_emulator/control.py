"""The control endpoints under `/_emulator`; loopback only, counted against no limit, never logged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from hubspot_emulator.failures import ApiError
from hubspot_emulator.page import PAGE
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.seeding import Seed, kind_named
from hubspot_emulator.settings import with_changes
from hubspot_emulator.views import kept_events, overview, save_snapshot, state

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
            ("POST", "webhook"): self._webhook,
            ("GET", "overview"): self._overview,
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
            "oldest_seq": min((one.seq for one in found), default=None),
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
        ctx = emulator.context()
        keep = {kind_named(ctx, str(name)).id for name in sent.get("keep", [])}
        emulator.start_over(kept_events(emulator.store.portal, keep))
        return {"status": "reset", "kept": sorted(keep)}

    def _seed(self, _request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        try:
            seed = msgspec.json.decode(body, type=Seed)
        except msgspec.MsgspecError as problem:
            raise ValueError(str(problem)) from None
        return {"ids": self.emulator.sow(seed)}

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

    def _webhook(self, _request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        webhooks = self.emulator.webhooks
        webhooks.settings = with_changes(webhooks.settings, _sent(body))
        return {"url": webhooks.settings.url, "signature": webhooks.settings.signature}

    def _overview(self, _request: web.BaseRequest, _body: bytes) -> dict[str, Any]:
        return overview(self.emulator)

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
