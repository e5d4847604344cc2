"""Checks the invariants in the running server, on a few exams at a time; never reads HubSpot and never repairs."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lastseat.errors import LastseatError
from lastseat.evidence import Budget, Call, Evidence
from lastseat.invariants import Verdict, check_all
from lastseat.model_upkeep import Sample
from lastseat.ports import Gates, Sampler
from lastseat.settings import Settings

LATE_TURNS: Final = 4
LOOK_S: Final = 2.0
"""After so many turns, and the time that a look itself may take, the last one says nothing any more."""

log = logging.getLogger(__name__)


class Watch:
    """The pure checks of `invariants` over a sample of one instant, every `watch_s` seconds.

    `calls`: the latest HubSpot calls of this process; what HubSpot itself holds is the doctor's to read.
    """

    def __init__(
        self, ledger: Sampler, gates: Gates, settings: Settings, calls: Callable[[], Sequence[Call]] = tuple
    ) -> None:
        self._ledger = ledger
        self._gates = gates
        self._calls = calls
        self._budget = Budget(calls=settings.hubspot_rate_limit, window_s=settings.hubspot_rate_window_s)
        self._every_s = settings.watch_s
        self._exams = settings.watch_exams
        self._began_at: float | None = None
        self._looked_at: float | None = None
        self._why_not = ""
        self._found: dict[str, int] = {}
        self.sample: Sample | None = None
        self.broken: list[Verdict] = []
        self._unjudged: list[str] = []

    async def run(self) -> None:
        """Look again and again until cancelled."""
        self._began_at = time.monotonic()
        while True:
            # Race: processes that started together would all look at once.
            await asyncio.sleep(self._every_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            try:
                await self.look()
            except LastseatError as error:
                self._why_not = error.message
                log.warning("watch: cannot look: %s", error.message)
            except Exception:  # a fault of the watch is no reason to stop watching
                self._why_not = "the look itself failed, see the log"
                log.exception("watch: the look failed")

    async def look(self) -> list[Verdict]:
        """One look; the verdicts that are broken."""
        exam_ids = await self._ledger.some_exams(self._exams)
        # Race: gates are read first, so that one that is ahead of the ledger is ahead indeed.
        gates = await self._gates.look(exam_ids)
        self.sample = await self._ledger.sample(exam_ids)
        known = {row["hubspot_id"] for row in self.sample.tables["hubspot_mock_exams"]}
        since = time.time() - self._every_s - self._budget.window_s
        evidence = Evidence(
            tables=self.sample.tables,
            gates=[gate for exam_id, gate in gates.items() if exam_id in known],
            calls=[call for call in self._calls() if call.at > since],
            budget=self._budget,
            exposed=self.sample.exposed,
        )
        verdicts = check_all(evidence)
        self.broken = [verdict for verdict in verdicts if verdict.broken]
        self._unjudged = [verdict.invariant for verdict in verdicts if not verdict.looked_at]
        self._looked_at, self._why_not = time.monotonic(), ""
        for verdict in self.broken:
            self._found[verdict.invariant] = self._found.get(verdict.invariant, 0) + 1
            for finding in verdict.findings:
                log.error("invariant %s is broken: %s", verdict.invariant, finding.sentence)
        return self.broken

    def ready(self) -> dict[str, object]:
        """Its part of /api/ready: what was found last; a broken invariant is for people to look into."""
        last_at = self._looked_at if self._looked_at is not None else self._began_at
        ago_s = round(time.monotonic() - last_at) if last_at is not None else 0
        if ago_s > LATE_TURNS * self._every_s + LOOK_S:
            why = f": {self._why_not.rstrip('.')}" if self._why_not else ""
            return {"ok": False, "detail": f"nobody has looked for {ago_s} s{why}", "needed": False}
        if self._looked_at is None:
            return {"ok": True, "detail": "not looked yet", "needed": False}
        if not self.broken:
            detail = f"nothing wrong in a sample {ago_s} s ago"
            if self._unjudged:
                detail += f"; nothing was there to judge {', '.join(self._unjudged)} by"
            return {"ok": True, "detail": detail, "needed": False}
        first = next(finding for finding in self.broken[0].findings if not finding.note)
        names = ", ".join(verdict.invariant for verdict in self.broken)
        detail = f"{names} broken, seen {ago_s} s ago: {first.sentence} Run `lastseat doctor`."
        return {"ok": False, "detail": detail, "needed": False}

    def outbox(self) -> dict[str, object]:
        """The outbox as last seen, for /api/ready."""
        if self.sample is None:
            return {"ok": True, "detail": "not looked yet", "needed": False}
        waiting, aside = sum(self.sample.waiting.values()), self.sample.aside
        detail = f"{waiting} rows on their way, the oldest for {self.sample.oldest_s:.0f} s; {aside} set aside"
        return {"ok": aside == 0, "detail": detail, "needed": False}

    def lines(self, labels: str) -> Iterable[str]:
        """Metrics in Prometheus' text."""
        yield "# TYPE lastseat_invariant_findings_total counter"
        for invariant, count in sorted(self._found.items()):
            yield f'lastseat_invariant_findings_total{{{labels},invariant="{invariant}"}} {count}'
        if self.sample is None:
            return
        yield "# TYPE lastseat_outbox_rows gauge"
        for kind, count in sorted(self.sample.waiting.items()):
            yield f'lastseat_outbox_rows{{{labels},kind="{kind}"}} {count}'
        for name in ("aside", "untold", "to_verify", "oldest_s"):
            yield f"# TYPE lastseat_outbox_{name} gauge"
            yield f"lastseat_outbox_{name}{{{labels}}} {getattr(self.sample, name):g}"
