"""Draws up from a seed what the demon will break, when and for how long; never looks at a clock or a running part."""

import random
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

Kill = Literal["server", "relay", "postgres", "valkey", "emulator"]
Harm = Literal["server", "relay", "postgres", "valkey", "emulator", "flush", "hubspot", "freeze"]

KILLS: Final[tuple[Kill, ...]] = ("server", "relay", "postgres", "valkey", "emulator")
FIRST_S: Final = 3.0
LAST_S: Final = 9.0
"""Nothing is killed in the last seconds, so that each kill is followed by students who try."""
KILL_EVERY_S: Final = 6.3
FLUSH_EVERY_S: Final = 17.0
SPOIL_EVERY_S: Final = 11.0
FREEZE_EVERY_S: Final = 40.0
LONGEST_LATE_S: Final = 4.0
"""No call to HubSpot lands later than this after it was made."""

WEATHER: Final = (
    "drop=0.4,shuffle",
    "drop-before=0.4",
    "502=0.4,html",
    "502-before=0.4,terse",
    "503=0.2,drop=0.2,late=0.2:1.5,shuffle",
    "429=0.4:1",
    "late=0.4:4",
    "late@batch_upsert=0.6:3",
    "late@batch_update=0.6:2",
    "stall=0.3:3",
    "slow=0.5:1",
    "short=0.3,empty=0.2",
    "500",
    "504-before",
)
"""What HubSpot may do for a while: the names are the emulator's."""
LATE: Final = ("late@batch_upsert=0.5:3", "late@batch_upsert=0.5:4")
"""Only calls that land late, for the control in which nobody looks again."""


class Blow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the demon does, `at_s` seconds after the students began.

    `lasts_s`: until a killed part is started again, a frozen server goes on, or HubSpot is well. `server`: which one,
    from 0; the relay's is found when the time has come. `faults` and `seed` are for the emulator.
    """

    at_s: float
    what: Harm
    lasts_s: float = 0.0
    server: int | None = None
    faults: str = ""
    seed: int = 0


def drawn_up(
    *,
    seed: int,
    seconds: float,
    processes: int,
    weather: Sequence[str] = WEATHER,
    spoil_every_s: float = SPOIL_EVERY_S,
) -> list[Blow]:
    """The same numbers give the same blows, in the order of their time."""
    dice = random.Random(f"demon:{seed}")  # noqa: S311  a rehearsal's chance, no secret
    kinds = _rounds(dice)
    blows = [_kill(dice, at_s, next(kinds), processes) for at_s in _moments(dice, seconds, KILL_EVERY_S)]
    blows += [Blow(at_s=at_s, what="flush") for at_s in _moments(dice, seconds, FLUSH_EVERY_S)]
    for at_s in _moments(dice, seconds, spoil_every_s):
        lasts_s = round(dice.uniform(2, 6), 2)
        number = dice.randrange(1 << 30)
        blows.append(Blow(at_s=at_s, what="hubspot", lasts_s=lasts_s, faults=dice.choice(weather), seed=number))
    for at_s in _moments(dice, seconds, FREEZE_EVERY_S):
        lasts_s = round(dice.uniform(9, 12), 2)
        blows.append(Blow(at_s=at_s, what="freeze", lasts_s=lasts_s, server=dice.randrange(processes)))
    return sorted(blows, key=lambda blow: blow.at_s)


def _rounds(dice: random.Random) -> Iterator[Kill]:
    """Every kind once before any comes again, so that a short run meets them all."""
    while True:
        yield from dice.sample(KILLS, len(KILLS))


def _moments(dice: random.Random, seconds: float, every_s: float) -> list[float]:
    """Moments about `every_s` apart, none in the first and the last seconds."""
    room_s = seconds - FIRST_S - LAST_S
    count = int(room_s / every_s) + 1 if room_s >= 0 else 0
    step_s = room_s / count if count else 0.0
    return [round(FIRST_S + step_s * (number + dice.uniform(0, 0.7)), 2) for number in range(count)]


def _kill(dice: random.Random, at_s: float, what: Kill, processes: int) -> Blow:
    lasts_s = round(dice.uniform(0.1, 2.5), 2)
    return Blow(at_s=at_s, what=what, lasts_s=lasts_s, server=dice.randrange(processes) if what == "server" else None)


def told(blows: Sequence[Blow]) -> list[str]:
    """The schedule for people, a line for each blow."""
    return [f"  {blow.at_s:7.2f} s  {_words(blow)}" for blow in blows]


def _words(blow: Blow) -> str:
    match blow.what:
        case "flush":
            return "flush Redis"
        case "hubspot":
            return f"spoil HubSpot for {blow.lasts_s:g} s: {blow.faults} (seed {blow.seed})"
        case "freeze":
            return f"freeze server {blow.server} for {blow.lasts_s:g} s"
        case "server":
            return f"kill server {blow.server}, start it again after {blow.lasts_s:g} s"
        case "relay":
            return "kill the relay's process, which its server starts again"
        case _:
            return f"kill {blow.what}, start it again after {blow.lasts_s:g} s"
