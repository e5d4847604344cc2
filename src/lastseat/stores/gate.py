"""Seat counts in Redis as the ledger last said them; a hint, never an answer of its own."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from lastseat.errors import Unavailable
from lastseat.group_commit import GroupCommit
from lastseat.model import Announcement, ExamId, Gate
from lastseat.ports import Gates, SeatLedger
from lastseat.stores.keys import capacity_of, gate_of
from lastseat.stores.redis import ERA, Part, RedisTrips

LOOKS: Final = 10_000  # Limit: lookups that share one trip
TRIPS: Final = 8
KNOWN_MOST: Final = 5_000  # Limit: exams remembered as full, closed or unknown for a tenth of a second

_decoder = msgspec.json.Decoder(Gate)


def announce_parts(gates: Collection[Gate]) -> tuple[list[Part], list[Part]]:
    """Keys and arguments of gates for the script `announce`."""
    keys = [gate_of(gate.exam_id) for gate in gates] + [capacity_of(gate.exam_id) for gate in gates]
    args: list[Part] = []
    for gate in gates:
        args += [gate.version, gate.remaining, msgspec.json.encode(gate)]
    return [*keys], args


class GateStore:
    """Port Gates. Neighbours' lookups are one MGET; values that are not ours, or of another era, are absent."""

    def __init__(self, trips: RedisTrips, *, gate_ttl_s: float) -> None:
        self._trips = trips
        self._gate_ttl_s = gate_ttl_s
        self._looks = GroupCommit(self._look_all, window_s=0, limit=LOOKS, trips=TRIPS)

    async def look(self, exam_ids: Collection[ExamId]) -> dict[ExamId, Gate]:
        """Those that are known; an unreachable Redis knows none."""
        if not exam_ids:
            return {}
        try:
            return await self._looks.submit(exam_ids)
        except Unavailable:
            return {}

    async def put(self, gates: Collection[Gate]) -> None:
        """Store each unless a newer version is there; an unreachable Redis is no error."""
        if not gates:
            return
        keys, args = announce_parts(gates)
        try:
            ttl_ms = round(self._gate_ttl_s * 1000)
            await self._trips.script("announce", keys, [len(gates), ttl_ms, ERA, "", "", *args])
        except Unavailable:
            return

    async def _look_all(self, asked: Sequence[Collection[ExamId]]) -> list[dict[ExamId, Gate]]:
        wanted = list({exam_id: None for exam_ids in asked for exam_id in exam_ids})
        values: list[bytes | None] = await self._trips.execute("MGET", *map(gate_of, wanted))
        known = {
            exam_id: gate
            for exam_id, value in zip(wanted, values, strict=True)
            if value is not None and (gate := self._understood(exam_id, value)) is not None
        }
        return [{exam_id: known[exam_id] for exam_id in exam_ids if exam_id in known} for exam_ids in asked]

    def _understood(self, exam_id: ExamId, value: bytes) -> Gate | None:
        era, _, rest = value.partition(b":")
        if era.decode(errors="replace") != self._trips.era:
            return None
        try:
            gate = _decoder.decode(rest.partition(b":")[2])
        except msgspec.MsgspecError:
            return None
        return gate if gate.exam_id == exam_id else None


class GateKeeper:
    """What the write path asks before it claims: Redis, and behind it the ledger, in one shared call.

    *Absent is not full*: what Redis does not know is asked of the ledger. `full`, closed and unknown exams are
    remembered in the process for `fresh_s`, so that a crowd before a shut door costs nothing.
    """

    def __init__(
        self,
        gates: Gates,
        ledger: SeatLedger,
        *,
        fresh_s: float,
        window_s: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gates = gates
        self._ledger = ledger
        self._fresh_s = fresh_s
        self._clock = clock
        self._known: dict[ExamId, tuple[float, Gate | None]] = {}
        self._news = 0
        self._loads = GroupCommit(self._load, window_s=window_s, limit=LOOKS)

    async def look(self, exam_id: ExamId) -> Gate | None:
        """The gate of an exam; None: no such exam. Raise Unavailable when neither store can say."""
        began_at = self._clock()
        known = self._known.get(exam_id)
        if known is not None and began_at - known[0] <= self._fresh_s:
            return known[1]
        news = self._news
        gate = (await self._gates.look([exam_id])).get(exam_id)
        if gate is None or not gate.open:
            # An exam opens and closes by the clock, without a new version: only the ledger knows that moment.
            gate = await self._loads.submit(exam_id)
        # Race: news that came while we asked may be newer than the answer; then it is good for this caller only.
        if news == self._news and (gate is None or not gate.open or gate.remaining <= 0):
            self._remember(exam_id, began_at, gate)
        return gate

    def hear(self, news: Announcement) -> None:
        """Forget what an announcement changed; subscribe this to the bulletin."""
        self._news += 1
        if news.exams_changed:
            self._known.clear()
        for gate in news.gates:
            self._known.pop(gate.exam_id, None)

    def _remember(self, exam_id: ExamId, at: float, gate: Gate | None) -> None:
        if len(self._known) >= KNOWN_MOST:
            self._known.clear()
        self._known[exam_id] = (at, gate)

    async def _load(self, exam_ids: Sequence[ExamId]) -> list[Gate | None]:
        gates = await self._ledger.gates(list(dict.fromkeys(exam_ids)))
        await self._gates.put(gates)
        known = {gate.exam_id: gate for gate in gates}
        return [known.get(exam_id) for exam_id in exam_ids]
