"""What may go wrong at a step, and how it is mended: one function each; where it cannot happen, the reason."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fault.plays import Play
from tests.fault.process import Moment, Process
from tests.fault.town import Town

_TO_HUBSPOT = ("write", "link")
_BY_THE_RELAY = ("write", "mirror", "announce", "link")
Strike = Callable[[Town, Process], Awaitable[None]]
NO_CALL = "this step does not speak to HubSpot"


@dataclass(frozen=True)
class Fault:
    """`strike` happens when the step is met, at `moment`; `only`: the steps that it can meet, else `because`."""

    name: str
    strike: Strike
    moment: Moment = "before"
    only: tuple[str, ...] | None = None
    because: str = ""
    ready: Strike | None = None
    """What is laid ready before the play begins."""

    def impossible(self, play: type[Play], step: str) -> str | None:
        """Why this fault cannot meet this step of this play."""
        if step not in play.steps:
            return play.missing[step]
        if self.only is not None and step not in self.only:
            return self.because
        return SPECIAL.get((self.name, play.name, step))


SPECIAL: dict[tuple[str, str, str], str] = {
    ("poison row", "cancel", "link"): "a cancel links nothing; the exam's total is a number of ours",
}


async def _killed(town: Town, process: Process) -> None:
    process.kill()
    await _another(town)


async def _another(town: Town) -> None:
    # In a task: whoever met the fault stands still from here on.
    town.started = asyncio.ensure_future(town.process())
    await town.started


async def _paused(town: Town, process: Process) -> None:
    process.pause()
    asyncio.get_running_loop().call_later(town.settings.lease_s + 0.35, process.wake)
    await _another(town)


async def _reply_lost(town: Town, process: Process) -> None:
    """What was asked of Postgres or Redis is done, and the answer does not come."""
    process.loses = process.met[-1][0]


async def _postgres_killed(town: Town, process: Process) -> None:
    process.away_for(0.25)
    await town.postgres_dies()


async def _flushed(town: Town, process: Process) -> None:
    await town.redis_flushed()


async def _redis_gone(town: Town, process: Process) -> None:
    await town.redis_gone()


async def _copy(town: Town, process: Process) -> None:
    await town.copy_redis()


async def _failover(town: Town, process: Process) -> None:
    await town.redis_fails_over()


async def _hubspot_down(town: Town, process: Process) -> None:
    await town.hubspot_way.refuse()
    asyncio.get_running_loop().call_later(0.4, lambda: asyncio.ensure_future(town.hubspot_way.mend()))


def _spoilt(faults: str, for_s: float | None = None) -> Strike:
    async def strike(town: Town, process: Process) -> None:
        town.portal.faults(faults)
        if for_s is not None:
            asyncio.get_running_loop().call_later(for_s, lambda: town.portal.faults(""))

    return strike


async def _poison(town: Town, process: Process) -> None:
    """HubSpot does not take one of the rows: a value is wrong, or the contact of a link is gone."""
    step, row = process.met[-1][0], process.rows[0]
    if step == "write":
        process.poisoned.add(row.key)
    else:
        town.archive_contact(row.contact_id)


def _jump(hours: int) -> Strike:
    async def strike(town: Town, process: Process) -> None:
        await town.clock_jumps(hours)

    return strike


_HUBSPOT = {"only": _TO_HUBSPOT, "because": NO_CALL}
FAULTS: tuple[Fault, ...] = (
    Fault("killed before", _killed),
    Fault("killed after", _killed, "after"),
    Fault(
        "reply lost",
        _reply_lost,
        only=("admit", "claim", "mirror", "announce"),
        because="HubSpot's lost reply is 'committed, then dropped'",
    ),
    Fault("Postgres killed", _postgres_killed),
    Fault("Redis flushed", _flushed),
    Fault("Redis gone", _redis_gone),
    Fault("Redis fails over to an older copy", _failover, ready=_copy),
    Fault("HubSpot down", _hubspot_down, **_HUBSPOT),
    Fault("HubSpot slow", _spoilt("stall=2x:0.12"), **_HUBSPOT),
    Fault("429 storm", _spoilt("429=3x:0.05"), **_HUBSPOT),
    Fault("committed, then dropped", _spoilt("drop=1x"), **_HUBSPOT),
    Fault("landing late", _spoilt("late=1x:0.25"), **_HUBSPOT),
    Fault("poison row", _poison, **_HUBSPOT),
    Fault("all rows refused", _spoilt("scope-lost", 0.3), **_HUBSPOT),
    Fault("clock jumps ahead", _jump(3)),
    Fault("clock jumps back", _jump(-3)),
    Fault(
        "relay paused past its lease",
        _paused,
        only=_BY_THE_RELAY,
        because="this step is not the relay's: a paused request is a slow one",
    ),
)
