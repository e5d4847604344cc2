"""Counts calls at arrival and refuses those beyond a limit; never delays or answers one."""

import random
from collections import deque
from dataclasses import dataclass

from hubspot_emulator.faults import dice_for
from hubspot_emulator.settings import Limits, Switches

DAY_S = 86_400


class RollingWindow:
    """The arrivals of the last `span_s` seconds."""

    def __init__(self) -> None:
        self.arrivals: deque[float] = deque()

    def count(self, now: float, span_s: float) -> int:
        """How many arrived within the span that ends now."""
        while self.arrivals and self.arrivals[0] <= now - span_s:
            self.arrivals.popleft()
        return len(self.arrivals)

    def add(self, at: float) -> None:
        """Counts one arrival."""
        self.arrivals.append(at)


class Others:
    """Calls of other apps or processes, spread evenly at a rate, with a little dice in the spacing."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._due = 0.0

    def until(self, now: float, per_s: float) -> list[float]:
        """The arrivals since the last call of this method."""
        if per_s <= 0:
            self._due = now
            return []
        found: list[float] = []
        self._due = max(self._due, now - 60)
        while self._due <= now:
            found.append(self._due)
            self._due += self._dice.uniform(0.5, 1.5) / per_s
        return found


@dataclass(frozen=True)
class Verdict:
    """Whether a call passes, by which policy not, and the headers its answer carries."""

    policy: str | None
    headers: dict[str, str]
    counted: bool


class Budget:
    """All limits of one account: rolling per app, search per second and daily per account."""

    def __init__(self, limits: Limits, switches: Switches, seed: int = 0) -> None:
        self.limits = limits
        self.switches = switches
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Forgets every arrival."""
        dice = dice_for(self._seed, "others")
        self._dice = dice_for(self._seed, "retry-after")
        self.apps: dict[str, RollingWindow] = {}
        self.search = RollingWindow()
        self.day = -1
        self.day_count = 0
        self._others = {name: Others(dice) for name in ("search", "calls", "token")}

    def admit(self, app: str, now: float, *, search: bool = False) -> Verdict:
        """Counts one arriving call, or says by which policy it is refused."""
        self._load_of_others(app, now)
        policy = self._refusing(app, now, search=search)
        counted = policy is None or self.switches.refused_calls_count
        if counted:
            self.count(app, now, search=search)
        headers = {} if search else self.headers(app, now)
        return Verdict(policy, headers | self._retry_after(app, now, policy), counted)

    def count(self, app: str, at: float, *, search: bool) -> None:
        """Counts an arrival that passed; also used to rebuild the windows after a restart."""
        self._turn_day(at)
        self.day_count += 1
        if search:
            self.search.add(at)
        if not search or self.switches.search_counts_in_window:
            self._window(app).add(at)

    def _refusing(self, app: str, now: float, *, search: bool) -> str | None:
        if self.day_count >= self.limits.daily:
            return "DAILY"
        if search and self.search.count(now, 1.0) >= self.limits.search_per_s:
            return "SECONDLY"
        in_window = not search or self.switches.search_counts_in_window
        if in_window and self._window(app).count(now, self._span_s) >= self.limits.calls:
            return "TEN_SECONDLY_ROLLING"
        return None

    @property
    def _span_s(self) -> float:
        return self.limits.window_ms / 1000

    def _window(self, app: str) -> RollingWindow:
        return self.apps.setdefault(app, RollingWindow())

    def _turn_day(self, now: float) -> None:
        day = int(now // DAY_S)
        if day > self.day:
            self.day, self.day_count = day, 0

    def _load_of_others(self, app: str, now: float) -> None:
        self._turn_day(now)
        limits = self.limits
        for at in self._others["search"].until(now, limits.other_search_per_s):
            self.day_count += 1
            if self.search.count(at, 1.0) < limits.search_per_s:
                self.search.add(at)
        self.day_count += len(self._others["calls"].until(now, limits.other_calls_per_s))
        for at in self._others["token"].until(now, limits.same_token_calls_per_s):
            if self._window(app).count(at, self._span_s) < limits.calls:
                self._window(app).add(at)
                self.day_count += 1

    def headers(self, app: str, now: float) -> dict[str, str]:
        """The rate-limit headers of an answer that is not a search."""
        used = self._window(app).count(now, self._span_s)
        return {
            "X-HubSpot-RateLimit-Max": str(self.limits.calls),
            "X-HubSpot-RateLimit-Remaining": str(max(0, self.limits.calls - used)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(self.limits.window_ms),
            "X-HubSpot-RateLimit-Daily": str(self.limits.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, self.limits.daily - self.day_count)),
        }

    def _retry_after(self, app: str, now: float, policy: str | None) -> dict[str, str]:
        if policy is None:
            return {}
        mode = self.switches.retry_after
        if mode == "never" or (mode == "sometimes" and self._dice.random() < 0.5):
            return {}
        oldest = self._window(app).arrivals
        waits = {"SECONDLY": 1.0, "DAILY": DAY_S - now % DAY_S}
        wait_s = waits.get(policy, (oldest[0] + self._span_s - now) if oldest else 1.0)
        return {"Retry-After": str(max(1, int(wait_s + 0.999)))}
