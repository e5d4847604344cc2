"""An emulator in this process on a free port, its clock in the test's hand, and a client for raw HTTP."""

import asyncio
import heapq
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from hubspot_emulator.clock import Clock
from hubspot_emulator.faults import Faults, split
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.server import Server
from hubspot_emulator.settings import Limits, Switches, with_changes
from hubspot_emulator.standard import DEFAULT_PORTAL_ID, first_events
from hubspot_emulator.store import Store

BOOKINGS, EXAMS, CONTACTS = "2-50158943", "2-50158913", "0-1"
FULL_NAME = f"p{DEFAULT_PORTAL_ID}_bookings"
START = 1_790_000_000.0


class HandClock(Clock):
    """Time that moves only when the test says so."""

    def __init__(self) -> None:
        self.at = START
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.at + delay_s, id(future), future))
        await future

    async def advance(self, delay_s: float) -> None:
        end = self.at + delay_s
        while self._sleepers and self._sleepers[0][0] <= end + 1e-9:
            at, _, future = heapq.heappop(self._sleepers)
            self.at = max(self.at, at)
            if not future.done():
                future.set_result(None)
            await settle()
        self.at = end

    async def until_asleep(self, sleepers: int = 1) -> None:
        for _ in range(2000):
            if len([one for one in self._sleepers if not one[2].done()]) >= sleepers:
                return
            await asyncio.sleep(0.001)
        raise AssertionError("nobody fell asleep")


async def settle() -> None:
    """Lets everything that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


class Answer(NamedTuple):
    """What came back. `status` 0: the connection was dropped."""

    status: int
    body: Any
    headers: Any


class Crm:
    """Raw HTTP against one emulator."""

    def __init__(self, url: str, session: aiohttp.ClientSession, emulator: Emulator, clock: HandClock) -> None:
        self.url = url
        self.session = session
        self.emulator = emulator
        self.clock = clock

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        headers = {"Authorization": "Bearer pat-demo"} | more.pop("headers", {})
        try:
            async with self.session.request(method, self.url + path, json=body, headers=headers, **more) as answer:
                text = await answer.text()
                as_json = "json" in answer.headers.get("Content-Type", "")
                return Answer(answer.status, await answer.json() if as_json else text, answer.headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return Answer(0, None, {})

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.call("POST", path, body, **more)

    async def batch(self, operation: str, inputs: list[Any], kind: str = BOOKINGS, **more: Any) -> Answer:
        return await self.post(f"/crm/v3/objects/{kind}/batch/{operation}", {"inputs": inputs, **more})

    async def upsert(self, *names: str, traced: bool = True, **values: Any) -> Answer:
        return await self.batch("upsert", [upsert_input(name, traced=traced, **values) for name in names])

    async def create(self, kind: str = BOOKINGS, **values: Any) -> str:
        answer = await self.post(f"/crm/v3/objects/{kind}", {"properties": values})
        assert answer.status == 201, answer
        return answer.body["id"]

    async def names(self) -> list[str]:
        """The booking ids of the live bookings, sorted."""
        found = (await self.state())["objects"][BOOKINGS]
        return sorted(one["properties"].get("booking_id", "") for one in found if not one["archived"])

    async def control(self, name: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        answer = await self.call(method, f"/_emulator/{name}", body)
        assert answer.status == 200, answer
        return answer.body

    async def state(self) -> Any:
        return await self.control("state")

    async def log(self) -> list[Any]:
        return (await self.control("requests"))["requests"]

    async def faults(self, text: str, seed: int = 0) -> None:
        await self.control("faults", {"faults": text, "seed": seed})

    async def switch(self, **values: Any) -> None:
        await self.control("switches", values)

    async def limits(self, **values: Any) -> None:
        await self.control("limits", values)


def upsert_input(name: str, *, traced: bool = True, **values: Any) -> dict[str, Any]:
    found = {"id": name, "idProperty": "booking_id", "properties": {"is_active": "Active", **values}}
    return found | ({"objectWriteTraceId": f"t-{name}"} if traced else {})


@asynccontextmanager
async def running(*, folder=None, faults="", seed=0, tokens=None, switches=None, webhook=None, **limits: Any):
    rules, named = split(faults)
    clock = HandClock()
    with Store(folder) as store:
        emulator = Emulator(
            store,
            limits=with_changes(Limits(), limits),
            switches=with_changes(Switches(), named | (switches or {})),
            tokens=tokens,
            faults=Faults(rules, seed),
            clock=clock,
            webhook=webhook,
            seed=seed,
        )
        if store.fresh:
            emulator.start_over(first_events("standard", DEFAULT_PORTAL_ID))
        server = Server(emulator)
        url = await server.start()
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                yield Crm(url, session, emulator, clock)
        finally:
            await server.stop()
