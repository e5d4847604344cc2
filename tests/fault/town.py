"""The stores and HubSpot of one case, all real; the ways to Redis and HubSpot can be cut; and the judge."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import redis.asyncio

from hubspot_emulator.seeding import Seed, SeedRecord
from hubspot_emulator.views import state
from lastseat.evidence import Answer, Budget, Call, Ending, Evidence
from lastseat.invariants import check_all
from lastseat.model import Record
from lastseat.rehearsal.kept import Logged, call_of, portal_records
from lastseat.settings import Settings
from lastseat.stores.dump import dump_ledger
from lastseat.stores.gate import GateStore
from lastseat.stores.redis import RedisTrips
from tests.fault.kit import database_at, exam, ledger_on
from tests.fault.process import Process
from tests.fault.proxy import Proxy
from tests.hubspot_client.doubles import BOOKINGS, CONTACTS, EXAMS, Portal, running_portal

CALLS, WINDOW_S = 60, 0.3
QUICK = {
    "hubspot_rate_limit": CALLS,
    "hubspot_rate_window_s": WINDOW_S,
    "hubspot_timeout_s": 0.25,
    "hubspot_connect_timeout_s": 0.1,
    "hubspot_extra_wait_s": 0.1,
    "hubspot_busy_pause_s": 0.05,
    "store_timeout_s": 1.0,
    "redis_timeout_s": 0.1,
    "deadline_s": 0.3,
    "relay_poll_s": 0.05,
    "relay_poll_alone_s": 0.03,
    "relay_window_s": 0.005,
    "relay_window_max_s": 0.02,
    "link_quiet_s": 0.02,
    "lease_s": 0.6,
    "lease_margin_s": 0.05,
    "lease_offer_s": 0.05,
    "verify_after_s": 0.45,
    "backoff_first_s": 0.03,
    "backoff_most_s": 0.2,
    "probe_most_s": 0.1,
    "breaker_first_s": 0.05,
    "breaker_most_s": 0.1,
    "breaker_probe_s": 0.2,
    "housekeeping_s": 0.3,
    "watch_s": 0.3,
    "body_age_s": 0.05,
}


class Town:
    """Where processes live. What is seen of answers is kept for the judge."""

    def __init__(self, database_url: str, portal: Portal, way: Proxy, redis_url: str, older_url: str, monkeypatch):
        self.database_url = database_url
        self.portal = portal
        self._way = way
        self._redis_url = redis_url
        self._older_url = older_url
        self._monkeypatch = monkeypatch
        self.processes: list[Process] = []
        self.answers: list[Answer] = []
        self.endings: list[Ending] = []
        self.hubspot_way: Proxy | None = None
        self.settings = Settings(
            **QUICK,
            supabase_db_url=database_url,
            supabase_jwt_secret="a secret of at least thirty-two characters",
            redis_url=_at_port(redis_url, way.port),
            hubspot_base_url=portal.url,
            hubspot_access_token="pat-demo",
        )

    # What there is.

    async def fill(self, capacities: dict[str, int], contacts: int = 8) -> None:
        """Exams by id with their seats, and students 1, 2, 3 …, in HubSpot and in the mirror."""
        exams = {exam_id: exam(exam_id, capacity=seats) for exam_id, seats in capacities.items()}
        people = {
            str(n): {"student_id": f"TRAINEE{n:04d}", "email": f"s{n}@students.example", "firstname": "Zoë"}
            for n in range(1, contacts + 1)
        }
        self.portal.emulator.sow(
            Seed(
                objects={
                    EXAMS: [SeedRecord(id=exam_id, properties=dict(e.properties)) for exam_id, e in exams.items()],
                    CONTACTS: [SeedRecord(id=n, properties=dict(p)) for n, p in people.items()],
                }
            )
        )
        records = [Record(hubspot_id=n, properties=dict(p)) for n, p in people.items()]
        await self.on_ledger(lambda ledger: ledger.mirror(exams=list(exams.values()), contacts=records))

    async def process(self) -> Process:
        process = await Process(self.settings, self._monkeypatch).start()
        self.processes.append(process)
        return process

    async def close(self) -> None:
        # The living first: a dead one's remains must not be taken for a successor.
        for process in sorted(self.processes, key=lambda p: p.dead):
            await process.stop()

    async def on_ledger(self, work):
        database = database_at(self.database_url, connections=1)
        try:
            return await work(ledger_on(database))
        finally:
            await database.close()

    async def rows(self, query: str, *values):
        connection = await asyncpg.connect(self.database_url, server_settings={"application_name": "onlooker"})
        try:
            return [dict(row) for row in await connection.fetch(query, *values)]
        finally:
            await connection.close()

    # What goes wrong.

    async def postgres_dies(self) -> None:
        """Every connection of the service ends in mid-statement, undoing what it did; who looks on is spared."""
        await self.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name <> 'onlooker'"
        )

    async def redis_flushed(self) -> None:
        async with self._redis(self._redis_url) as client:
            await client.flushall()

    async def redis_gone(self, for_s: float = 0.35) -> None:
        await self._way.refuse()
        asyncio.get_running_loop().call_later(for_s, lambda: asyncio.ensure_future(self._way.mend()))

    async def copy_redis(self) -> None:
        """What a replica has; what is written from now on does not reach it."""
        async with self._redis(self._redis_url) as here, self._redis(self._older_url) as there:
            await there.flushall()
            for key in await here.keys():
                ttl, value = await here.pttl(key), await here.dump(key)
                if value is not None:
                    await there.restore(key, max(ttl, 0), value)

    async def redis_fails_over(self) -> None:
        self._way.lead_to(urlsplit(self._older_url).port)

    def archive_contact(self, contact_id: str) -> None:
        """Somebody deletes the contact in HubSpot."""
        context = self.portal.emulator.context()
        context.change(["archive", CONTACTS, contact_id, context.now])

    async def clock_jumps(self, hours: int) -> None:
        """The database's clock jumps: seen from there, all instants lie so many hours further ahead or behind."""
        gap = f"interval '{-hours} hours'"
        await self.rows(f"update hubspot_sync.relay_lease set expires_at = expires_at + {gap}")
        await self.rows(
            f"update hubspot_sync.outbox set not_before = not_before + {gap}, verify_at = verify_at + {gap},"
            f" created_at = created_at + {gap}, sent_at = sent_at + {gap}, done_at = done_at + {gap}"
        )

    @contextlib.asynccontextmanager
    async def _redis(self, url: str) -> AsyncGenerator[redis.asyncio.Redis]:
        client = redis.asyncio.Redis.from_url(url)
        try:
            yield client
        finally:
            await client.aclose()

    # What came of it.

    async def settled(self, seconds: float = 4.0) -> None:
        """Nothing is on its way any more, at HubSpot neither."""
        waiting = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    waiting = await self.rows(
                        "select kind, state, attempts, last_error, verify_at, told from hubspot_sync.outbox"
                        " where state in ('waiting', 'sent', 'mirrored') or verify_at is not null or not told"
                    )
                    if not waiting and not self.portal.emulator.landing:
                        return
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"still on its way: {waiting}") from None

    async def evidence(self) -> Evidence:
        emulator = self.portal.emulator
        objects = msgspec.json.decode(msgspec.json.encode(state(emulator.store.portal, None)))
        trips = RedisTrips(self.settings.redis_url.get_secret_value(), timeout_s=1.0)
        tables = await dump_ledger(self.database_url)
        gates = await GateStore(trips, gate_ttl_s=60).look(
            [row["hubspot_id"] for row in tables["hubspot_mock_exams"]]
        )
        await trips.close()
        return Evidence(
            tables=tables,
            portal=portal_records(objects, BOOKINGS, "booking_id"),
            calls=self.calls(),
            budget=Budget(calls=CALLS, window_s=WINDOW_S),
            gates=list(gates.values()),
            answers=self.answers,
            endings=self.endings,
        )

    def calls(self) -> list[Call]:
        lines = msgspec.json.encode(list(self.portal.emulator.store.calls))
        return [call_of(line) for line in msgspec.json.decode(lines, type=list[Logged])]

    async def broken(self) -> list[str]:
        """Every invariant that does not hold, with the sentences."""
        return [
            f"{verdict.invariant}: {finding.sentence}"
            for verdict in check_all(await self.evidence())
            for finding in verdict.findings
            if not finding.note
        ]

    def record(self, exam_id: str, kind: str = EXAMS) -> dict[str, str]:
        return self.portal.emulator.store.portal.types[kind].records[exam_id].properties


@contextlib.asynccontextmanager
async def town(database_url: str, redis_url: str, older_url: str, monkeypatch) -> AsyncGenerator[Town]:
    async with (
        running_portal(calls=CALLS, window_ms=int(WINDOW_S * 1000)) as portal,
        Proxy(urlsplit(redis_url).port) as way,
        Proxy(urlsplit(portal.url).port) as hubspot_way,
    ):
        portal.url = _at_port(portal.url, hubspot_way.port)
        made = Town(database_url, portal, way, redis_url, older_url, monkeypatch)
        made.hubspot_way = hubspot_way
        try:
            yield made
        finally:
            await made.close()


def _at_port(url: str, port: int) -> str:
    place = urlsplit(url)
    who = f"{place.username or ''}:{place.password}@" if place.password else ""
    return urlunsplit(place._replace(netloc=f"{who}127.0.0.1:{port}"))
