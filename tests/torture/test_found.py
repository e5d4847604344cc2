"""What tortures found in the service, each as the smallest test that shows it."""

import asyncio
import contextlib

import asyncpg
import pytest

from lastseat.errors import Uncertain
from lastseat.model import Announcement, Backlog, Lease, OutboxRow, RowResult
from lastseat.settings import Settings
from lastseat.stores.postgres import PostgresDatabase
from lastseat.writes.relay import Relay
from lastseat.writes.settling import Settling


class DyingConnection:
    """Postgres has said on it that it ends; the end itself has not been heard yet. asyncpg calls that internal."""

    def __init__(self) -> None:
        self.cut = False

    async def fetchval(self, *_: object, **__: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    def terminate(self) -> None:
        self.cut = True


class PoolOfOne:
    def __init__(self, connection: DyingConnection) -> None:
        self._connection = connection

    async def acquire(self, **_: object) -> DyingConnection:
        return self._connection

    async def release(self, connection: DyingConnection, **_: object) -> None:
        assert connection.cut, "the next caller would get it too"


async def test_whoever_is_given_a_dying_connection_hears_that_the_reply_was_lost():
    database = PostgresDatabase("postgresql://127.0.0.1:1/x", connections=1, timeout_s=1)
    database._pool = PoolOfOne(DyingConnection())
    with pytest.raises(Uncertain):
        await database.call("claim", b"{}")


class Standing:
    """An outbox in which so many rows wait; those that are taken are gone. Also a HubSpot and a bulletin for them."""

    connected = True

    def __init__(self, **due: int) -> None:
        self.due = due
        self.sizes: list[int] = []

    async def take_lease(self, holder: str, lease_s: float, *_: object) -> Lease:
        return Lease(holder=holder, term=1, remaining_s=lease_s)

    async def backlog(self, term: int) -> Backlog:
        return Backlog(due=dict(self.due))

    async def send(self, term: int, kind: str, limit: int) -> list[OutboxRow]:
        taken = min(limit, self.due.get(kind, 0))
        self.due[kind] = self.due.get(kind, 0) - taken
        return [OutboxRow(outbox_id=n, kind=kind, attempts=1, key=f"{kind}{n}") for n in range(taken)]

    async def settle(self, *_: object) -> tuple[Announcement, list[int]]:
        return Announcement(), []

    async def unannounced(self, term: int) -> tuple[Announcement, list[int]]:
        return Announcement(), []

    async def nothing(self, *_: object, **__: object) -> None:
        return None

    async def deliver(self, kind: str, slot: object, rows: list[OutboxRow], *_: object) -> list[RowResult]:
        self.sizes.append(len(rows))
        return [RowResult(key=row.key, outcome="written") for row in rows]

    async def reserve(self, kind: str) -> "Standing":
        return self

    async def emptied(self, *kinds: str) -> bool:
        for _ in range(200):
            if not any(self.due[kind] for kind in kinds):
                return True
            await asyncio.sleep(0.01)
        return False

    def on_wake(self, _: object) -> None:
        return None

    release_lease = prepare = housekeep = announce = announced = give_back = close = nothing


@pytest.mark.parametrize("due", [{"create": 95, "cancel": 93}, {"create": 60, "cancel": 41}])
async def test_many_creates_and_many_cancels_do_not_wait_for_each_other_for_ever(due: dict[str, int]):
    """Together they made a full batch, so the relay did not wait for more; alone neither did, so it sent none."""
    outbox = Standing(**due)
    settings = Settings(relay_poll_s=0.01, relay_window_s=0.002, relay_window_max_s=0.01)
    relay = Relay(ledger=outbox, delivery=outbox, budget=outbox, bulletin=outbox, settings=settings)
    running = asyncio.create_task(relay.run())
    try:
        assert await outbox.emptied(*due)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_cancels_go_on_while_creates_are_in_trouble():
    """Creates that pause filled a batch, so a few cancels waited to become one too."""
    outbox = Standing(create=250, cancel=7)
    settings = Settings(relay_poll_s=0.01, relay_window_s=0.002, relay_window_max_s=0.01)
    relay = Relay(ledger=outbox, delivery=outbox, budget=outbox, bulletin=outbox, settings=settings)
    relay._settling.pauses_s = lambda kind, now: 60.0 if kind == "create" else 0.0
    running = asyncio.create_task(relay.run())
    try:
        assert await outbox.emptied("cancel")
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert outbox.due["create"] == 250


async def test_after_an_outage_batches_grow_and_do_not_come_by_the_dozen():
    """The way was open again; batches were still of one row, and 85 of them took all calls of ten seconds."""
    outbox = Standing(create=85)
    settings = Settings(relay_poll_s=0.01, relay_window_s=0.002, relay_window_max_s=0.01)
    relay = Relay(ledger=outbox, delivery=outbox, budget=outbox, bulletin=outbox, settings=settings)
    for _ in range(8):
        relay._settling.failed("create", -1000.0, away="HubSpot did not answer", sent=True)
    running = asyncio.create_task(relay.run())
    try:
        assert await outbox.emptied("create")
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert sum(outbox.sizes) == 85
    assert len(outbox.sizes) <= 8
    assert outbox.sizes == sorted(outbox.sizes[:-1]) + outbox.sizes[-1:]


def test_after_a_long_outage_a_few_good_batches_make_them_whole_again():
    """Of five calls four came to nothing: single rows failed so often that 250 bookings took three minutes."""
    settling = Settling(Settings())

    def batch(outcome):
        rows = [
            OutboxRow(outbox_id=number, kind="create", attempts=1, key=f"LS-{number}")
            for number in range(settling.batch("create", 100))
        ]
        settling.of(rows, [RowResult(key=row.key, outcome=outcome) for row in rows], 0.0)
        return len(rows)

    assert [batch("unknown") for _ in range(8)] == [100, 25, 6, 1, 1, 1, 1, 1]
    assert [batch("written") for _ in range(4)] == [1, 6, 25, 100]
