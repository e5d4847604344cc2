"""One call from arrival to reply: counted, judged, spoiled, committed, logged; never speaks HTTP itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec

from hubspot_emulator.accounts import Accounts, App, refuse_unscoped
from hubspot_emulator.calls import Call, keys_of
from hubspot_emulator.clock import Clock
from hubspot_emulator.context import Asked, Context, Reply
from hubspot_emulator.failures import ApiError, html, missing_scopes, outage, rate_limited, terse, unauthenticated
from hubspot_emulator.faults import Fate, Faults, Rule, split
from hubspot_emulator.limits import Budget
from hubspot_emulator.operations import OPERATIONS, Operation, scopes
from hubspot_emulator.paths import Match, matched
from hubspot_emulator.portal import Event
from hubspot_emulator.search import Index
from hubspot_emulator.seeding import Seed, sow
from hubspot_emulator.settings import Limits, Switches, Webhook, with_changes
from hubspot_emulator.store import Store
from hubspot_emulator.webhooks import Webhooks

log = logging.getLogger(__name__)
POLICIES = {"429": "TEN_SECONDLY_ROLLING", "429-daily": "DAILY", "429-search": "SECONDLY"}


@dataclass(frozen=True)
class Incoming:
    """A request as the transport hands it over."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]
    target_bytes: int = 0


@dataclass
class Outgoing:
    """An answer for the transport. `status` 0: close the connection without one."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    slow_s: float = 0.0


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Emulator:
    """One portal with everything around it."""

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits | None = None,
        switches: Switches | None = None,
        tokens: list[str] | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        webhook: Webhook | None = None,
        seed: int = 0,
    ) -> None:
        self.store = store
        self.clock = clock or Clock()
        self.switches = switches or Switches()
        self.budget = Budget(limits or Limits(), self.switches, seed)
        self.accounts = Accounts(tokens or [])
        self.faults = faults or Faults(seed=seed)
        self.seed = seed
        self.epoch = 0
        self.in_flight = 0
        self.index = Index(store.portal)
        self.landing: set[asyncio.Task[None]] = set()
        self.webhooks = Webhooks(webhook or Webhook(), self.faults, self.clock, seed)
        self._recount()

    def _recount(self) -> None:
        # The window belongs to the account, not to this process: a restart does not empty it.
        for call in self.store.calls:
            if call.counted:
                self.budget.count(call.app or "app-1", call.arrived_at, search=call.search)

    def set_switches(self, switches: Switches) -> None:
        """Turns switches while running."""
        self.switches = self.budget.switches = switches

    def commit(self, ctx: Context, call: Call | None = None, *, late: bool = False) -> None:
        """Keeps changes on disk, then tells the search index and the webhooks."""
        self.store.commit(ctx.events, ctx.at, call, late=late)
        lag_s = 0.0 if call is None else self.switches.search_lag_ms / 1000
        self.index.notice(ctx.events, ctx.at, lag_s)
        source = "CRM_UI" if call is None else "INTEGRATION"
        self.webhooks.notice(self.store.portal.id, ctx.changes, ctx.at, source)

    def context(self, fate: Fate | None = None) -> Context:
        """The portal as it is now, for one operation."""
        fate = fate or Fate()
        return Context(
            self.store.portal,
            self.index,
            self.switches,
            self.clock.now(),
            fate.dice,
            gone=fate.gone,
            spoil_a_row=fate.name == "partial",
        )

    def start_over(self, events: Iterable[Event]) -> None:
        """Begins with other records, an empty log and an empty window; calls under way are cut off."""
        self.epoch += 1
        for task in list(self.landing):
            task.cancel()
        self.store.start_over(events, self.clock.now())
        self.index.rebuild(self.store.portal)
        self.budget.clear()
        self.faults.restart()

    def sow(self, seed: Seed) -> dict[str, list[str]]:
        """Writes records as a person does in HubSpot's own pages; search sees them at once."""
        ctx = self.context()
        try:
            return sow(ctx, seed)
        finally:
            self.commit(ctx)

    def set_faults(self, text: str, seed: int) -> None:
        """Replaces the faults in force; switches may be named in the same text."""
        faults, switches = split(text)
        changed = with_changes(self.switches, switches)
        self.faults.set(faults, seed)
        self.set_switches(changed)

    async def answer(self, incoming: Incoming) -> Outgoing:
        """Does one call."""
        call = Call(
            seq=self.store.next_seq(),
            arrived_at=self.clock.now(),
            method=incoming.method,
            path=incoming.path,
        )
        self.in_flight += 1
        try:
            return await _Turn(self, call, incoming).run()
        finally:
            self.in_flight -= 1


class _Turn:
    """The steps of one call, in order."""

    def __init__(self, emulator: Emulator, call: Call, incoming: Incoming) -> None:
        self.emulator = emulator
        self.call = call
        self.incoming = incoming
        self.epoch = emulator.epoch
        self.headers: dict[str, str] = {}
        self.fate = Fate()
        self.match = Match("", {})

    async def run(self) -> Outgoing:
        try:
            outgoing = await self._steps()
        except ApiError as problem:
            outgoing = self._refused(problem)
        except Dropped:
            outgoing = Outgoing(0)
        except Exception:
            log.exception("call %s %s broke the emulator", self.call.method, self.call.path)
            outgoing = self._refused(outage(500))
        outgoing.headers = self.headers | outgoing.headers
        outgoing.slow_s = self.fate.slow_s
        self._log(outgoing.status)
        return outgoing

    def _log(self, status: int) -> None:
        if self.epoch != self.emulator.epoch:
            return
        self.call.status = status
        self.call.duration_ms = round((self.emulator.clock.now() - self.call.arrived_at) * 1000, 3)
        self.emulator.store.log(self.call)

    def _refused(self, problem: ApiError) -> Outgoing:
        if self.fate.html and problem.status >= 500:
            return Outgoing(problem.status, html(problem.status), problem.headers | {"Content-Type": "text/html"})
        body = terse(problem.body()) if self.fate.terse else problem.body()
        return Outgoing(problem.status, msgspec.json.encode(body), problem.headers)

    async def _steps(self) -> Outgoing:
        # Limit: everything up to the verdict happens without waiting: calls are counted at arrival.
        try:
            app, match, operation = self._arrive()
        except ApiError:
            self._describe(self.match, await self.incoming.body())
            raise
        body = await self.incoming.body()
        self._describe(match, body)
        self._refuse_outright(app, match, operation)
        delay_s = self._delay_s()
        await self._wait(delay_s / 2)
        query = dict(parse_qsl(self.incoming.query, keep_blank_values=True))
        asked = Asked(match.operation, match.path, query, body)
        reply = await self._outcome(operation, asked)
        await self._wait(delay_s / 2)
        return Outgoing(reply.status, b"" if reply.body is None else msgspec.json.encode(reply.body))

    def _arrive(self) -> tuple[App, Match, Operation]:
        emulator, call = self.emulator, self.call
        if self.incoming.target_bytes > emulator.budget.limits.uri_bytes:
            raise ApiError(414, "URI Too Long", None)
        app = emulator.accounts.app(self.incoming.headers.get("Authorization"))
        call.app = app.name
        match = self.match = matched(call.method, call.path)
        call.operation = match.operation
        operation = OPERATIONS[match.operation]
        call.search = operation.kind == "search"
        verdict = emulator.budget.admit(app.name, call.arrived_at, search=call.search)
        call.counted = verdict.counted
        self.headers = verdict.headers
        if verdict.policy is not None:
            call.policy = verdict.policy
            raise rate_limited(verdict.policy, {})
        return app, match, operation

    def _describe(self, match: Match, body: bytes) -> None:
        portal = self.emulator.store.portal
        names = [match.path[part] for part in ("type", "from", "to") if part in match.path]
        ids = [portal.names.get(name, name) for name in names]
        self.call.object_type = "/".join(ids)
        keys = keys_of(body, portal.types.get(ids[0]) if ids else None)
        if not keys and "id" in match.path:
            keys = [match.path["id"]]
        self.call.keys = keys
        self.call.rows = len(keys)

    def _refuse_outright(self, app: App, match: Match, operation: Operation) -> None:
        emulator = self.emulator
        self.fate = emulator.faults.fate(match.operation, operation.kind)
        needed = scopes(operation, match.path, emulator.store.portal)
        refuse_unscoped(app, needed)
        if self.fate.scope_lost:
            self.call.fault = "scope-lost"
            raise missing_scopes(needed)
        if self.fate.fault is None:
            return
        self.call.fault = name = self.fate.name
        if name in POLICIES:
            self.call.policy = POLICIES[name]
            raise self._throttled(self.fate.fault)
        if name == "401":
            raise unauthenticated(sent_any=True)
        if name == "403":
            raise missing_scopes(needed)
        if name in ("423", "477"):
            raise outage(int(name), int(self.fate.fault.seconds(5)) if name == "477" else None)

    def _throttled(self, rule: Rule) -> ApiError:
        policy = POLICIES[rule.name]
        if policy == "SECONDLY":
            self.headers = {}  # HubSpot: no rate-limit headers on the answers of search
        return rate_limited(policy, {"Retry-After": rule.arg} if rule.arg else {})

    def _delay_s(self) -> float:
        limits = self.emulator.budget.limits
        jitter_ms = self.fate.dice.uniform(0, limits.jitter_ms) if limits.jitter_ms else 0.0
        return (limits.latency_ms + jitter_ms) / 1000

    async def _wait(self, delay_s: float) -> None:
        if delay_s > 0:
            await self.emulator.clock.sleep(delay_s)

    async def _outcome(self, operation: Operation, asked: Asked) -> Reply:
        name = self.fate.name
        rule = self.fate.fault
        if name == "late" and rule is not None:
            self._land_later(operation, asked, rule.seconds(2))
            raise Dropped
        if name == "stall" and rule is not None:
            await self._wait(rule.seconds(2))
        if name.endswith("-before"):
            return self._unanswered(name.removesuffix("-before"), Reply(_good(asked.operation)))
        reply = self._run(operation, asked)
        if self.fate.shuffle and reply.body is not None and "results" in reply.body:
            self.fate.dice.shuffle(reply.body["results"])
        return self._unanswered(name, reply)

    def _unanswered(self, name: str, reply: Reply) -> Reply:
        if name == "drop":
            raise Dropped
        if name[:1] == "5":
            raise outage(int(name))
        if name == "empty":
            return Reply(reply.status if reply.status < 300 else 200, {})
        if name == "short" and reply.body and reply.body.get("results"):
            reply.body["results"].pop()
        return reply

    def _run(self, operation: Operation, asked: Asked, *, late: bool = False) -> Reply:
        """Does the operation and keeps what it changed, also when it refuses the request."""
        if self.epoch != self.emulator.epoch:
            raise Dropped
        ctx = self.emulator.context(self.fate)
        try:
            return operation.run(ctx, asked)
        finally:
            self.emulator.commit(ctx, self.call, late=late)
            self.call.committed = bool(ctx.events) and not late

    def _land_later(self, operation: Operation, asked: Asked, delay_s: float) -> None:
        self.call.lands_after_s = delay_s

        async def land() -> None:
            await self._wait(delay_s)
            try:
                self._run(operation, asked, late=True)
            except (ApiError, Dropped):
                return  # refused or reset when it landed: nobody hears of it

        task = asyncio.get_running_loop().create_task(land())
        self.emulator.landing.add(task)
        task.add_done_callback(self.emulator.landing.discard)


def _good(operation: str) -> int:
    if "archive" in operation:
        return 204
    return 201 if "create" in operation else 200
