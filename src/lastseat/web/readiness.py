"""Says how each part is, rung by rung, for /api/ready and /metrics; changes nothing and names no secret."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from lastseat.errors import LastseatError
from lastseat.upkeep.watch import Watch

Part = dict[str, object]
OLD_S: Final = 60.0
"""Limit: a row that waits longer tells a process without the lease that HubSpot, or whoever writes to it, is away."""


class Door(Protocol):
    """What stands before Supabase: why it is shut, if it is, and how often it was."""

    @property
    def away_because(self) -> str | None: ...
    @property
    def opened(self) -> int: ...


class Carrier(Protocol):
    """What carries the outbox to HubSpot."""

    @property
    def term(self) -> int | None: ...
    @property
    def paused_because(self) -> str | None: ...
    @property
    def away_because(self) -> str | None: ...


class Wire(Protocol):
    """What joins the processes."""

    @property
    def connected(self) -> bool: ...


class Purse(Protocol):
    """The budget of HubSpot calls."""

    @property
    def paused_because(self) -> str | None: ...
    async def status(self) -> dict[str, object]: ...


class Readiness:
    """The ladder: what is away, what that means for students, and who must act. Only Supabase stops us."""

    def __init__(
        self,
        *,
        supabase: str,
        ask: Callable[[], Awaitable[object]],
        door: Door,
        redis: Wire,
        relay: Carrier,
        budget: Purse,
        watch: Watch,
    ) -> None:
        self._supabase = supabase
        self._ask = ask
        self._door = door
        self._redis = redis
        self._relay = relay
        self._budget = budget
        self._watch = watch

    async def parts(self) -> dict[str, object]:
        """Each part: ok, what it says, and whether bookings need it."""
        budget = await self._of_budget()  # before HubSpot's part: it hears of a pause that another process met
        return {
            "supabase": await self._of_supabase(),
            "redis": self._of_redis(),
            "hubspot": self._of_hubspot(),
            "relay": {"ok": True, "detail": f"term {self._relay.term}" if self._relay.term else "another process"},
            "budget": budget,
            "outbox": self._watch.outbox(),
            "invariants": self._watch.ready(),
        }

    def lines(self, labels: str) -> Iterable[str]:
        """One number per rung, 1 for well: for alarms."""
        rungs = {
            "supabase": self._door.away_because is None,
            "redis": self._redis.connected,
            "hubspot": self._relay.away_because is None and not self._waits_long(),
            "portal": self._relay.paused_because is None,
            "budget": self._budget.paused_because is None,
            "invariants": bool(self._watch.ready()["ok"]),
        }
        yield "# TYPE lastseat_part_ok gauge"
        for name, well in rungs.items():
            yield f'lastseat_part_ok{{{labels},part="{name}"}} {int(well)}'
        yield "# TYPE lastseat_relay_term gauge"
        yield f"lastseat_relay_term{{{labels}}} {self._relay.term or 0}"
        yield "# TYPE lastseat_supabase_shut_total counter"
        yield f"lastseat_supabase_shut_total{{{labels}}} {self._door.opened}"
        yield from self._watch.lines(labels)

    async def _of_supabase(self) -> Part:
        try:
            await self._ask()
        except LastseatError as error:
            return {"ok": False, "detail": f"{error.message}; reads are served stale, writes are refused"}
        return {"ok": True, "detail": self._supabase}

    def _of_redis(self) -> Part:
        well = self._redis.connected
        detail = "connected" if well else "away: the ledger decides alone, slower"
        return {"ok": well, "detail": detail, "needed": False}

    def _of_hubspot(self) -> Part:
        """The process that holds the lease knows; the others say so, and judge by what waits in the outbox of all."""
        if (fault := self._relay.paused_because) is not None:
            detail = f"{fault.rstrip('.')}; bookings are pending, seats are held"
        elif (fault := self._relay.away_because) is not None:
            detail = f"away: {fault.rstrip('.')}; bookings are pending, seats are held"
        elif (fault := self._budget.paused_because) is not None:
            detail = f"{fault}; bookings are pending, seats are held"
        elif self._relay.term is None:
            return {"ok": not self._waits_long(), "detail": self._from_afar(), "needed": False}
        else:
            detail = "accepting writes"
        return {"ok": fault is None, "detail": detail, "needed": False}

    def _from_afar(self) -> str:
        sample = self._watch.sample
        waits = "nothing is known of the outbox yet"
        if sample is not None:
            waits = f"the oldest row waits for {sample.oldest_s:.0f} s" if sample.waiting else "no row waits"
        return f"another process writes to HubSpot; {waits}"

    def _waits_long(self) -> bool:
        """Whether this process, which does not write to HubSpot itself, sees rows that nobody gets rid of."""
        sample = self._watch.sample
        return self._relay.term is None and sample is not None and sample.oldest_s > OLD_S

    async def _of_budget(self) -> Part:
        """Not well while HubSpot told us to wait: 423, 477, or a limit reached."""
        said = await self._budget.status()
        words = [str(said["detail"]), f"{said['free']} calls may start now"]
        if "used" in said:
            words.append(f"{said['used']} of {said['limit']} used by us, {said['used_by_others']} by others")
        if said.get("daily_left") is not None:
            words.append(f"{said['daily_left']} left today")
        return {"ok": said["ok"], "detail": "; ".join(words), "needed": False}
