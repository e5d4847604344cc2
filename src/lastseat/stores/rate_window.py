"""One process's own count of its HubSpot calls, and what reply headers say; knows no Redis and no clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

_PROBE_WAIT_S = 0.02
_ASK_AGAIN_S = 0.2  # Redis, or a process that knows more, may be back by then.
_RETRY_MOST_S = 86_400.0  # HubSpot: a data-centre move may take up to 24 h, and nothing asks for more.
_PREFIX = "x-hubspot-ratelimit-"


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply's headers say of the limits; None where they are silent (always, for a search)."""

    max: int | None = None
    remaining: int | None = None
    interval_s: float | None = None
    daily: int | None = None
    daily_left: int | None = None
    retry_s: float | None = None


def heard(headers: Mapping[str, str] | None) -> Heard:
    """Read the headers, given with lower-case names."""
    given = headers or {}
    interval_ms = _whole(given.get(f"{_PREFIX}interval-milliseconds"))
    return Heard(
        max=_whole(given.get(f"{_PREFIX}max")),
        remaining=_whole(given.get(f"{_PREFIX}remaining")),
        interval_s=None if interval_ms is None else interval_ms / 1000,
        daily=_whole(given.get(f"{_PREFIX}daily")),
        daily_left=_whole(given.get(f"{_PREFIX}daily-remaining")),
        retry_s=_retry_s(given.get("retry-after")),
    )


class _Call(msgspec.Struct):
    sent_at: float
    free_at: float
    open: bool = True
    refused: bool = False


class LocalWindow:
    """A rolling window in which a call stays until a window after its reply; `now` is any steady clock.

    `hold_s` frees the slot of a call whose end nobody reported: its time-outs plus the window.
    """

    def __init__(self, *, limit: int, headroom: int, window_s: float, hold_s: float) -> None:
        self._limit = limit
        self._headroom = headroom
        self._window_s = window_s
        self._hold_s = hold_s
        self._calls: dict[str, _Call] = {}
        self._others: list[tuple[float, int]] = []
        self._max: int | None = None
        self._probe_at = 0.0
        self._doubted_at = 0.0
        self.truth_known = False

    def take(self, call_id: str, now: float) -> float:
        """Count a call; 0, or the seconds until our own calls leave room for it (it is then not counted)."""
        self._tidy(now)
        if len(self._calls) >= self._size:
            return self._wait(now)
        self._calls[call_id] = _Call(now, now + self._hold_s)
        return 0.0

    def take_alone(self, call_id: str, now: float, share: int) -> float:
        """The same while Redis is away: at most `share` of ours, never beyond what HubSpot last said.

        Before a reply has told how full the window is, one call at a time; while others' calls may fill it, none.
        """
        self._tidy(now)
        if not self.truth_known and now < self._probe_at:
            return min(self._probe_at - now, _ASK_AGAIN_S)
        free = min(share, self._size) - len(self._calls)
        if self._max is not None:
            free = min(free, self._max - self._headroom - len(self._calls) - sum(count for _, count in self._others))
        if free < 1:
            return self._wait(now)
        if not self.truth_known and any(call.open for call in self._calls.values()):
            return _PROBE_WAIT_S
        return self.take(call_id, now)

    def free_alone(self, now: float, share: int) -> int:
        """How many calls could start now while Redis is away."""
        self._tidy(now)
        others = sum(count for _, count in self._others)
        free = min(share, self._size, (self._max or self._limit) - self._headroom - others) - len(self._calls)
        return max(0, free if self.truth_known else min(free, int(now >= self._probe_at)))

    def close(self, call_id: str, now: float, news: Heard, *, refused: bool = False) -> float:
        """The reply or time-out came; returns how long ago the call was sent. `refused`: the window was full."""
        call = self._calls.get(call_id) or _Call(now, now)
        if news.interval_s is not None:
            self._window_s = max(self._window_s, min(news.interval_s, 60.0))
        self._calls[call_id] = _Call(call.sent_at, now + self._window_s, open=False, refused=refused)
        if news.max is not None and news.remaining is not None:
            self._resynchronise(news.max, news.remaining, now)
            # Race: others may have called between this one's arrival and the moment from which nobody told of them.
            self.truth_known = self.truth_known or call.sent_at >= self._doubted_at
        return now - call.sent_at

    def drop(self, call_id: str) -> None:
        """The call never left."""
        self._calls.pop(call_id, None)

    def forget_others(self, now: float, *, quiet_s: float = 0.0) -> None:
        """What this process knows is not the whole: until the next headers, one call at a time.

        Others' calls may fill the window for `quiet_s` from now; the first call waits so long.
        """
        self.truth_known = False
        self._doubted_at = now
        self._probe_at = max(self._probe_at, now + quiet_s)

    def expect_others(self, until: float) -> None:
        """Until then calls of others may fill the window; the first call waits, unless their number is known."""
        self._probe_at = max(self._probe_at, until)

    def quiet_s(self, now: float) -> float:
        """How long calls that nobody told us of may still fill the window."""
        return max(0.0, self._probe_at - now)

    def calls(self, now: float) -> list[tuple[str, float, float]]:
        """Each call that counts: its id, sent so many seconds ago, free in so many."""
        self._tidy(now)
        return [(call_id, now - call.sent_at, call.free_at - now) for call_id, call in self._calls.items()]

    @property
    def others(self) -> int:
        """How many calls of others HubSpot's last headers told of."""
        return sum(count for _, count in self._others)

    @property
    def _size(self) -> int:
        return max(1, min(self._limit, self._max or self._limit) - self._headroom)

    def _resynchronise(self, most: int, remaining: int, now: float) -> None:
        self._max = most
        # Calls of others are measured anew at every reply, so that steady ones are never thought to be over.
        # HubSpot: whether a refused call takes a place in the window is not documented (2026). It keeps its slot
        # here, as if it did, and hides no call of others, as if it did not.
        accepted = sum(not call.refused for call in self._calls.values())
        others = max(0, most - remaining - accepted)
        older = sum(count for _, count in self._others) - others
        kept = [(now + self._window_s, others)]
        for free_at, count in self._others:
            number = max(0, min(count, older))
            kept.append((free_at, number))
            older -= number
        self._others = kept

    def _tidy(self, now: float) -> None:
        self._calls = {call_id: call for call_id, call in self._calls.items() if call.free_at > now}
        self._others = [(free_at, count) for free_at, count in self._others if free_at > now]

    def _wait(self, now: float) -> float:
        ends = [call.free_at for call in self._calls.values()] + [free_at for free_at, _ in self._others]
        return max(0.01, min(ends, default=now + self._window_s) - now)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _retry_s(text: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date."""
    if text is None:
        return None
    try:
        wait_s = float(text) if text[:1].isdigit() else _until(text)
    except (ValueError, TypeError):
        return None
    return min(max(wait_s, 0.0), _RETRY_MOST_S)


def _until(text: str) -> float:
    moment = parsedate_to_datetime(text)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - datetime.now(UTC)).total_seconds()
