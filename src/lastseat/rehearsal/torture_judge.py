"""Computes every number of a torture from the files it left, and nothing else; never asks a running part."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from lastseat.rehearsal.history import Kept, Said, Struck
from lastseat.rehearsal.schedule import KILLS
from lastseat.rehearsal.seat_story import story_of
from lastseat.rehearsal.torture_checks import RECOVERY_S, Case, Finding, findings_of

STORIES_MOST: Final = 12
GIVEN: Final = frozenset({201, 202})
MUST_BE_ZERO: Final = ("lost", "duplicates", "oversold", "stranded", "unresolved")


class Kills(msgspec.Struct, frozen=True, kw_only=True):
    """How often each part was killed with signal 9."""

    server: int = 0
    relay: int = 0
    postgres: int = 0
    valkey: int = 0
    emulator: int = 0


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A broken promise, and what happened to the seat that it is about."""

    kind: str
    sentence: str
    history: list[str] = []


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a torture came to. Counts of requests, bookings, cancels, seats; milliseconds and seconds by name."""

    requests: int
    booked: int
    cancelled: int
    kills: Kills
    violations: list[Violation]
    lost: int
    duplicates: int
    oversold: int
    stranded: int
    unresolved: int
    longest_outage_ms: float
    recovery_max_s: float

    @property
    def passed(self) -> bool:
        """False as soon as one promise was broken."""
        return not self.violations and not any(getattr(self, name) for name in MUST_BE_ZERO)


def judge(kept: Kept) -> Report:
    """Every number of a kept torture."""
    case = Case(kept)
    recovery_s = max((recovery(kept, blow) for blow in kept.struck if blow.what in KILLS), default=0.0)
    findings = [*findings_of(case), *_of_the_play(case, recovery_s)]
    counts = Counter[str]()
    for finding in findings:
        counts[finding.kind] += finding.count
    kills = Counter(blow.what for blow in kept.struck)
    return Report(
        requests=len(kept.said),
        booked=sum(life.confirmed for life in case.lives.values()),
        cancelled=sum(life.confirmed and life.should_hold is False for life in case.lives.values()),
        kills=Kills(**{name: kills[name] for name in KILLS}),
        violations=[
            Violation(
                kind=finding.kind,
                sentence=finding.sentence,
                history=story_of(case, finding.about) if number < STORIES_MOST else [],
            )
            for number, finding in enumerate(findings)
        ],
        **{name: counts[name] for name in MUST_BE_ZERO},
        longest_outage_ms=longest_outage_ms(kept),
        recovery_max_s=round(recovery_s, 2),
    )


def _of_the_play(case: Case, recovery_s: float) -> list[Finding]:
    """The torture itself must have taken place, and the service must have come back each time."""
    findings: list[Finding] = []
    planned, done = Counter(blow.what for blow in case.trial.blows), Counter(blow.what for blow in case.kept.struck)
    if planned != done:
        findings.append(Finding("play", f"The demon did {dict(done)} of {dict(planned)}."))
    if not any(life.confirmed for life in case.lives.values()):
        findings.append(Finding("play", "Nobody got a seat."))
    if recovery_s > RECOVERY_S:
        findings.append(Finding("play", f"After a kill it took {recovery_s:.0f} s until the next 201."))
    return findings


def recovery(kept: Kept, blow: Struck) -> float:
    """Seconds from the restart of a killed part to the next 201; of a server, to the next that it answered itself."""
    again_at = blow.again_at if blow.again_at is not None else blow.at
    heard = [line.at for line in _given(kept.said, {201}) if line.at > again_at and _concerns(blow, line)]
    return min(heard, default=max(kept.trial.end_at, again_at + RECOVERY_S + 1)) - again_at


def _concerns(blow: Struck, line: Said) -> bool:
    return blow.server is None or line.server == blow.server


def longest_outage_ms(kept: Kept) -> float:
    """The longest time in the play in which nobody was given a seat, though students asked all the time."""
    trial = kept.trial
    accepted = sorted(line.at for line in _given(kept.said, GIVEN) if trial.began_at <= line.at <= trial.calm_at)
    moments = [trial.began_at, *accepted, trial.calm_at]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return round(max(gaps) * 1000, 1)


def _given(said: Sequence[Said], statuses: frozenset[int] | set[int]) -> list[Said]:
    return [line for line in said if line.deed in ("book", "move") and line.status in statuses]
