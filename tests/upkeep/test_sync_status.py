"""How the sync stands, as one process tells it: asked once for all who come, never older than two seconds."""

import asyncio
from datetime import UTC, datetime

import pytest

from lastseat.errors import Unavailable
from lastseat.model_upkeep import BackfillState, RelayState, SyncStatus
from lastseat.upkeep import sync_status
from lastseat.upkeep.sync_status import KEPT_S, StatusBoard

AT = datetime(2031, 1, 2, tzinfo=UTC)


class Asked:
    """A ledger that counts how often it is asked; `aside` is its count, so that answers differ."""

    def __init__(self) -> None:
        self.times = 0
        self.away = False

    async def sync_status(self) -> SyncStatus:
        self.times += 1
        times = self.times
        await asyncio.sleep(0.01)
        if self.away:
            raise Unavailable("Supabase is away")
        backfill = BackfillState(updated_at=AT, done=False, passes_done=2)
        return SyncStatus(
            at=AT, records=[], backfill=backfill, outbox=[], aside=times, relay=RelayState(term=1, held=True)
        )


@pytest.fixture
def ledger() -> Asked:
    return Asked()


async def looks(board: StatusBoard, many: int) -> list[int]:
    return [found.aside for found in await asyncio.gather(*(board.look() for _ in range(many)))]


async def test_all_who_ask_in_two_seconds_share_one_call(ledger: Asked):
    clock = [100.0]
    board = StatusBoard(ledger, now=lambda: clock[0])
    assert await looks(board, 5) == [1] * 5
    clock[0] += KEPT_S - 0.1
    assert await looks(board, 2) == [1, 1]
    clock[0] += 0.2
    assert await looks(board, 5) == [2] * 5
    assert ledger.times == 2


async def test_without_that_time_each_crowd_would_ask_again(ledger: Asked, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sync_status, "KEPT_S", 0.0)
    board = StatusBoard(ledger)
    assert await looks(board, 2) + await looks(board, 2) == [1, 1, 2, 2]


async def test_a_database_that_is_away_is_told_to_all_and_asked_again(ledger: Asked):
    board = StatusBoard(ledger)
    ledger.away = True
    told = await asyncio.gather(*(board.look() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in told] == [Unavailable] * 3
    ledger.away = False
    assert await looks(board, 1) == [2]


async def test_who_hangs_up_leaves_the_others_their_answer(ledger: Asked):
    board = StatusBoard(ledger)
    first, second = (asyncio.create_task(board.look()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).aside == 1
    assert ledger.times == 1


async def test_how_many_passes_there_are_is_told(ledger: Asked):
    backfill = (await StatusBoard(ledger).look()).backfill
    assert backfill is not None
    assert (backfill.passes_done, backfill.passes) == (2, 6)
