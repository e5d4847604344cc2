"""Lets neighbours share a trip: collects for a moment, runs once; never mixes up whose answer is whose."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from lastseat.errors import Refused

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class GroupCommit(Generic[Item, Answer]):
    """Groups concurrent `submit` calls into calls of `run(items)`, which returns one answer per item, in order.

    The first item of a group waits `window_s`, or until `limit` items are there; while a group runs, the next
    one collects (at most `trips` run at once). A group that `run` refuses as a whole is repeated item by item,
    so that no item fails its neighbours; every other error reaches each waiting caller.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        window_s: float,
        limit: int,
        trips: int = 1,
    ) -> None:
        self._run = run
        self._window_s = window_s
        self._limit = limit
        self._free_trips = asyncio.Semaphore(trips)
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._full = asyncio.Event()
        self._collector: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Answer:
        """Return this item's own answer; a caller that is cancelled leaves its neighbours alone."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if len(self._waiting) >= self._limit:
            self._full.set()
        if self._collector is None:
            self._collector = asyncio.create_task(self._collect())
        return await answer

    async def _collect(self) -> None:
        while self._waiting:
            if len(self._waiting) < self._limit:
                await self._wait_for_neighbours()
            await self._free_trips.acquire()
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if len(self._waiting) < self._limit:
                self._full.clear()
            trip = asyncio.create_task(self._travel(group))
            self._running.add(trip)
            trip.add_done_callback(self._running.discard)
        self._collector = None

    async def _wait_for_neighbours(self) -> None:
        try:
            async with asyncio.timeout(self._window_s):
                await self._full.wait()
        except TimeoutError:
            return

    async def _travel(self, group: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            await self._answer(group)
        except Refused as refusal:
            if len(group) == 1:
                _fail(group, refusal)
            else:
                await asyncio.gather(*(self._answer_alone(pair) for pair in group))
        except Exception as error:  # noqa: BLE001  # whatever it was, each caller must hear it, none may hang
            _fail(group, error)
        finally:
            self._free_trips.release()

    async def _answer(self, group: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        answers = await self._run([item for item, _ in group])
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _answer_alone(self, pair: tuple[Item, asyncio.Future[Answer]]) -> None:
        try:
            await self._answer([pair])
        except Exception as error:  # noqa: BLE001  # see _travel
            _fail([pair], error)


def _fail(group: list[tuple[Item, asyncio.Future[Answer]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
