"""The budget of HubSpot calls, shared over processes through Redis; never trusts an empty window, never a send time.

A call occupies its slot until one window after its reply or time-out, because HubSpot counts arrivals. Redis holds
the window (stores/lua/budget.lua); each process counts its own calls too and the stricter count wins. While Redis is
away a process uses only its share, the limit divided by the number of processes (at least by two, since another
server may run), and only as far as the last reply's headers allow; the first call then waits a window, in which the
calls of others that Redis knew of run out.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from lastseat.errors import Unavailable
from lastseat.evidence import Call
from lastseat.model import OutboxKind
from lastseat.ports import Slot
from lastseat.settings import Settings
from lastseat.stores.keys import budget_window
from lastseat.stores.rate_window import Heard, LocalWindow, heard

# The share of the window that a kind leaves free for higher ones; a kind that is not named leaves half.
_KEEP = {
    "create": 0.0,
    "read": 0.0,
    "discover": 0.0,
    "cancel": 0.05,
    "exam_create": 0.05,
    "exam_update": 0.05,
    "exam_archive": 0.05,
    "exam_restore": 0.05,
    "verify": 0.1,
    "link_contact": 0.1,
    "link_exam": 0.1,
    "count": 0.15,
}
_KEEP_OTHERS = 0.5
SEARCH = "search"
_WAIT_MOST_S = 60.0
_PAUSES = {
    "LOCKED": "LOCKED (423), the account is busy",
    "MIGRATION": "MIGRATION (477), the account moves to another data centre",
    "DAILY": "DAILY, the calls of the day are used up",
}
# Limit: with so many calls in a window, half of which were free a second ago, one more is not too many now.
_LARGE_PLAN = 50
_ROOMY_S = 1.0
_PAST_MOST = 2_000  # Limit: calls remembered for the checks; two windows of the largest plan are 500.
_RECALL_MS = 50  # Limit: so long a new window waits for processes to tell of their calls, before the first one.


class Scripts(Protocol):
    """The part of RedisTrips that is needed; raises Unavailable."""

    async def script(self, name: str, keys: Sequence[str], args: Sequence[str | bytes]) -> object:
        """Run stores/lua/`name`.lua."""
        ...


class _State(msgspec.Struct, frozen=True):
    """What the script says of the shared window after it ran; durations in milliseconds."""

    ok: bool
    wait: float
    serial: int
    born: float
    known: bool
    free: int
    own: int
    foreign: int
    size: int
    paused: float
    why: str
    search_paused: float
    daily_left: int


class SharedSlot:
    """The right to make one call. Closing it twice, or after giving it back, changes nothing."""

    def __init__(self, budget: "SharedBudget", call_id: str, kind: str) -> None:
        self._budget = budget
        self._id = call_id
        self._kind = kind
        self._ended = False

    async def close(self, headers: dict[str, str] | None = None, status: int | None = None) -> None:
        """The reply came (its headers, names in lower case, and status), or the time-out did (neither)."""
        if not self._ended:
            self._ended = True
            await self._budget.closed(self._id, self._kind, headers, status)

    async def give_back(self) -> None:
        """Nothing was sent: the slot is free at once."""
        if not self._ended:
            self._ended = True
            await self._budget.given_back(self._id)


class SharedBudget:
    """Implements ports.RateBudget. `reserve` and `close` are one Redis trip each."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._settings = settings
        # Crash: a process may die after waiting for the ledger and sending; its call can arrive this late.
        self._hold_s = settings.store_timeout_s + settings.hubspot_timeout_s + settings.hubspot_rate_window_s
        self._local = LocalWindow(
            limit=settings.hubspot_rate_limit,
            headroom=settings.hubspot_headroom,
            window_s=settings.hubspot_rate_window_s,
            hold_s=self._hold_s,
        )
        self._searches = LocalWindow(
            limit=settings.hubspot_search_limit,
            headroom=0,
            window_s=settings.hubspot_search_window_s,
            hold_s=self._hold_s,
        )
        self._share = max(1, (settings.hubspot_rate_limit - settings.hubspot_headroom) // max(2, settings.processes))
        self._seen = 0
        self._born: float = 0.0
        self._untold = False
        self._paused_until = 0.0
        self._why = ""
        self._searches_at = 0.0
        self._daily_scarce = False
        self._daily_until = 0.0
        self._redis_away = False
        self._roomy_until = 0.0
        self.past: deque[Call] = deque(maxlen=_PAST_MOST)
        """This process's latest calls, for whoever checks that the budget is kept."""

    async def reserve(self, kind: OutboxKind | str) -> Slot | float:
        """A slot, or the seconds to wait before asking again."""
        if self._paused_s() > 0:
            return min(self._paused_s(), _WAIT_MOST_S)
        call_id = uuid.uuid4().hex
        try:
            state = await self._run(
                "reserve", id=call_id, kind=kind, daily_fresh=_ms(self._settings.hubspot_daily_pause_s)
            )
        except Unavailable:
            wait_s = self._reserve_alone(call_id, kind)
            return wait_s or SharedSlot(self, call_id, kind)
        if not state.ok:
            return min(state.wait / 1000, _WAIT_MOST_S)
        # Race: Redis may know less than this process (flushed, an older copy): the stricter count wins.
        wait_s = self._take(call_id, kind)
        if wait_s:
            await self.given_back(call_id)
            return min(wait_s, _WAIT_MOST_S)
        return SharedSlot(self, call_id, kind)

    def others_called(self, ago_s: float) -> None:
        """A relay before this one made its last call so long ago, says the ledger.

        Crash: it may be dead, and Redis may have lost its window: then nobody is left to tell of those calls.
        """
        settings = self._settings
        counts_s = settings.hubspot_timeout_s + settings.hubspot_rate_window_s
        self._local.expect_others(self._now() + counts_s - ago_s)

    async def free(self) -> int:
        """How many calls could start now."""
        try:
            return (await self._run("look", kind="create")).free
        except Unavailable:
            return 0 if self._paused_s() > 0 else self._local.free_alone(self._now(), self._share)

    @property
    def paused_because(self) -> str | None:
        """Why and until when HubSpot told us to wait, as far as this process has heard; None while calls may go."""
        paused_s = self._paused_s()
        if paused_s <= 0:
            return None
        until = datetime.now(UTC) + timedelta(seconds=paused_s)
        return f"paused by HubSpot until {until.isoformat(timespec='seconds')}: {_PAUSES.get(self._why, self._why)}"

    async def status(self) -> dict[str, object]:
        """For /api/ready: `ok` is false while HubSpot told us to wait; `detail` says why and for how long."""
        try:
            state = await self._run("look", kind="create")
        except Unavailable:
            return self._told(free=self._local.free_alone(self._now(), self._share), known=self._local.truth_known)
        return self._told(
            free=state.free,
            known=state.known,
            used=state.own,
            used_by_others=state.foreign,
            limit=state.size,
            daily_left=None if state.daily_left < 0 else state.daily_left,
        )

    async def closed(self, call_id: str, kind: str, headers: dict[str, str] | None, status: int | None) -> None:
        """A call ended; its slot is free a window from now. Called by the slot."""
        news = heard(headers)
        policy = (headers or {}).get("policy-name")
        refused = status == 429 and news.remaining == 0
        sent_ago_s = self._local.close(call_id, self._now(), news, refused=refused)
        self._hear_daily(news)
        # The calls of a day, and a window that others share, are not ours alone to keep.
        others = policy == "DAILY" or self._local.others > 0
        at = datetime.now(UTC).timestamp() - sent_ago_s
        self.past.append(Call(at=at, kind="write", status=status or 0, planted=status == 429 and others))
        if kind == SEARCH:
            self._searches.close(call_id, self._now(), Heard())
        try:
            await self._run(
                "close", id=call_id, kind=kind, sent_ago=_ms(sent_ago_s), **self._as_args(news, status, policy)
            )
        except Unavailable:
            self._untold = True
            self._pause_alone(kind, status, policy, news)

    async def given_back(self, call_id: str) -> None:
        """A call was not made. Called by the slot."""
        self._local.drop(call_id)
        self._searches.drop(call_id)
        try:
            await self._run("back", id=call_id)
        except Unavailable:
            return  # Crash: the shared slot stays taken until its time-out and a window are over, which is harmless

    def _take(self, call_id: str, kind: str) -> float:
        now = self._now()
        if kind == SEARCH and (wait_s := self._searches.take(call_id, now)):
            return wait_s
        return self._local.take(call_id, now)

    def _reserve_alone(self, call_id: str, kind: str) -> float:
        now = self._now()
        if wait_s := self._wait_alone(kind, now):
            return wait_s
        if kind == SEARCH and (wait_s := self._searches.take_alone(call_id, now, 1)):
            return wait_s
        wait_s = self._local.take_alone(call_id, now, self._share)
        if wait_s and kind == SEARCH:
            self._searches.drop(call_id)
        self._untold = self._untold or not wait_s
        return wait_s

    def _wait_alone(self, kind: str, now: float) -> float:
        """What the script says while Redis is there: searches pause by themselves, the day's last calls are kept."""
        if kind == SEARCH and now < self._searches_at:
            return self._searches_at - now
        if _KEEP.get(kind, _KEEP_OTHERS) > 0 and self._daily_scarce and now < self._daily_until:
            return self._daily_until - now
        return 0.0

    async def _run(self, op: str, *, kind: str = "", **args: object) -> _State:
        settings, untold = self._settings, self._untold
        self._untold = False
        told = self._local.calls(self._now()) if untold else []
        sent = {
            "seen": self._seen,
            "limit": settings.hubspot_rate_limit,
            "headroom": settings.hubspot_headroom,
            "window": _ms(settings.hubspot_rate_window_s),
            "hold": _ms(self._hold_s),
            "search_limit": settings.hubspot_search_limit,
            "search_window": _ms(settings.hubspot_search_window_s),
            "recall": _RECALL_MS,
            "quiet": _ms(self._local.quiet_s(self._now())),
            "mine": [(call_id, _ms(ago_s), _ms(free_s)) for call_id, ago_s, free_s in told],
            "kind": kind,
            "keep": _KEEP.get(kind, _KEEP_OTHERS),
            **args,
        }
        try:
            reply = await self._scripts.script("budget", [budget_window()], [op, msgspec.json.encode(sent)])
        except Unavailable:
            self._untold = self._untold or untold
            if not self._redis_away and self._seen:
                # Race: since our last trip, others may have used up the window, and nobody can tell us now.
                roomy = self._now() < self._roomy_until
                self._local.forget_others(self._now(), quiet_s=0 if roomy else self._settings.hubspot_rate_window_s)
            self._redis_away = True
            raise
        return self._learnt(msgspec.json.decode(_as_bytes(reply), type=_State))

    def _learnt(self, state: _State) -> _State:
        self._redis_away = False
        self._seen = max(self._seen, state.serial)
        if state.known and state.size >= _LARGE_PLAN and 2 * state.free >= state.size:
            self._roomy_until = self._now() + _ROOMY_S
        if state.born != self._born:
            # Crash: the window in Redis is new to us, so it may lack our calls; the next trip tells it of them.
            self._born = state.born
            self._untold = True
            self._local.forget_others(self._now())
        self._pause(state.paused / 1000, state.why)
        return state

    def _pause(self, for_s: float, why: str) -> None:
        # Redis may forget a pause; HubSpot does not.
        if self._now() + for_s > self._paused_until:
            self._paused_until = self._now() + for_s
            self._why = why

    def _as_args(self, news: Heard, status: int | None, policy: str | None) -> dict[str, object]:
        settings = self._settings
        args: dict[str, object | None] = {
            "status": status or 0,
            "policy": policy,
            "max": news.max,
            "remaining": news.remaining,
            "interval": None if news.interval_s is None else _ms(news.interval_s),
            "daily": news.daily,
            "daily_left": news.daily_left,
            "retry": None if news.retry_s is None else _ms(news.retry_s),
            "busy_pause": _ms(settings.hubspot_busy_pause_s),
            "move_pause": _ms(settings.hubspot_move_pause_s),
            "daily_pause": _ms(self._daily_pause_s()),
        }
        return {name: value for name, value in args.items() if value is not None}

    def _daily_pause_s(self) -> float:
        # HubSpot: the day ends at midnight in the account's zone, which may not be ours; so look again before it.
        now = datetime.now(ZoneInfo(self._settings.timezone))
        midnight = datetime.combine(now.date() + timedelta(days=1), time(0), tzinfo=now.tzinfo)
        return min(self._settings.hubspot_daily_pause_s, max(1.0, (midnight - now).total_seconds()))

    def _pause_alone(self, kind: str, status: int | None, policy: str | None, news: Heard) -> None:
        settings = self._settings
        pauses = {
            423: (max(settings.hubspot_busy_pause_s, news.retry_s or 0), "LOCKED"),
            477: (news.retry_s or settings.hubspot_move_pause_s, "MIGRATION"),
            429: (
                self._daily_pause_s() if policy == "DAILY" else news.retry_s or settings.hubspot_rate_window_s,
                policy or "TEN_SECONDLY_ROLLING",
            ),
        }
        searched = policy == "SECONDLY" or (kind == SEARCH and policy is None)
        if status == 429 and searched:
            self._searches_at = self._now() + (news.retry_s or settings.hubspot_search_window_s)
        elif status in pauses:
            self._pause(*pauses[status])

    def _hear_daily(self, news: Heard) -> None:
        """What is left of the day belongs to the bookings, and when nothing is left, to nobody."""
        if news.daily_left is None:
            return
        self._daily_scarce = news.daily_left <= (news.daily or news.daily_left) * 0.01
        self._daily_until = self._now() + self._settings.hubspot_daily_pause_s
        if news.daily_left <= 0:
            self._pause(self._daily_pause_s(), "DAILY")

    def _told(self, **facts: object) -> dict[str, object]:
        why = self.paused_because
        away = "; Redis is away, so a cautious share is used" if self._redis_away else ""
        return {
            "ok": why is None,
            "detail": (why or "running") + away,
            "paused_s": round(self._paused_s(), 3),
            **facts,
        }

    def _paused_s(self) -> float:
        return max(0.0, self._paused_until - self._now())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _as_bytes(reply: object) -> bytes | str:
    assert isinstance(reply, bytes | str)
    return reply
