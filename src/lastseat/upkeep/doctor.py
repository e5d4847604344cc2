"""Says whether I1–I9 hold in what was seen, and explains each finding; never looks anywhere itself, never repairs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from lastseat.errors import Refused
from lastseat.evidence import Evidence
from lastseat.invariants import Finding, Verdict, check_all

SHOWN_MOST: Final = 20  # Limit: findings of one invariant told one by one; the rest is counted

LOG_LINES: Final = "log lines"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen (counts by name) and what each check says of it."""

    seen: dict[str, int]
    verdicts: list[Verdict]

    @property
    def healthy(self) -> bool:
        """True when no promise was found broken."""
        return not any(verdict.broken for verdict in self.verdicts)


def examine(evidence: Evidence) -> Report:
    """Check everything; raise Refused when there is nothing to check."""
    seen = counted(evidence)
    # A service that has written a log may still have nothing in it: no promise can be tested on that.
    if not any(count for name, count in seen.items() if name != LOG_LINES):
        raise Refused("Nothing to check: no exam, no booking and no claim was found.", code="NOT_FOUND")
    return Report(seen=seen, verdicts=check_all(evidence))


async def examine_twice(look: Callable[[], Awaitable[Evidence]], pause: Callable[[], Awaitable[None]]) -> Report:
    """Check a running service: what a second look does not show again was only on its way."""
    first = examine(await look())
    if first.healthy:
        return first
    await pause()
    second = examine(await look())
    return confirmed(first, second)


def confirmed(first: Report, second: Report) -> Report:
    """The second report without the findings that the first one did not have."""
    known = {(verdict.invariant, finding) for verdict in first.verdicts for finding in verdict.findings}
    verdicts = [
        Verdict(
            invariant=verdict.invariant,
            promise=verdict.promise,
            looked_at=verdict.looked_at,
            findings=[finding for finding in verdict.findings if (verdict.invariant, finding) in known],
        )
        for verdict in second.verdicts
    ]
    return Report(seen=second.seen, verdicts=verdicts)


def counted(evidence: Evidence) -> dict[str, int]:
    """How much of what was seen; what was not looked at is not named."""
    found: dict[str, Sequence[object] | None] = {
        "exams": tuple(evidence.exams),
        "bookings": tuple(evidence.bookings),
        "claims": tuple(evidence.claims),
        "outbox rows": evidence.rows("outbox"),
        "HubSpot records": evidence.portal,
        "HubSpot calls": evidence.calls,
        "gates": evidence.gates,
        "answers": evidence.answers,
        LOG_LINES: evidence.log_lines,
    }
    return {name: len(rows) for name, rows in found.items() if rows is not None}


def told(report: Report) -> str:
    """The report for people."""
    return "\n".join([_seen(report.seen), *(line for verdict in report.verdicts for line in _lines(verdict))])


def _seen(seen: Mapping[str, int]) -> str:
    return "Seen: " + ", ".join(f"{count:,} {name}" for name, count in seen.items()) + "."


def _lines(verdict: Verdict) -> list[str]:
    if not verdict.looked_at:
        return [f"{verdict.invariant}  ?       {verdict.promise} (nothing was seen that could tell)"]
    state = "BROKEN" if verdict.broken else "holds "
    return [
        f"{verdict.invariant}  {state}  {verdict.promise} ({verdict.looked_at:,} looked at)",
        *_told(verdict.findings),
    ]


def _told(findings: Sequence[Finding]) -> list[str]:
    lines = [f"      {'note: ' if finding.note else ''}{finding.sentence}" for finding in findings[:SHOWN_MOST]]
    more = len(findings) - SHOWN_MOST
    return [*lines, f"      … and {more:,} more."] if more > 0 else lines
