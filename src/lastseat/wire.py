"""Builds everything, and is the only place that knows everyone; decides nothing itself."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from fastapi import FastAPI

from lastseat import settings as settings_module
from lastseat.embedded.process import die_with_parent
from lastseat.errors import SetupError
from lastseat.ports import Database
from lastseat.reads.bookings import BookingReads
from lastseat.reads.checker import Checker
from lastseat.reads.counts import SeatLooks
from lastseat.reads.exams import ExamReads
from lastseat.reads.staff import StaffExamReads
from lastseat.settings import Settings
from lastseat.stores.breaker import Breaker
from lastseat.stores.bulletin import RedisBulletin
from lastseat.stores.care import Care
from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.gate import GateKeeper, GateStore
from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.jwks import SigningKeys
from lastseat.stores.ledger import Ledger
from lastseat.stores.link_memory import RememberingHubSpot
from lastseat.stores.postgres import PostgresDatabase
from lastseat.stores.postgrest import PostgrestDatabase
from lastseat.stores.rate_budget import SharedBudget
from lastseat.stores.redis import RedisTrips
from lastseat.stores.tally import RedisTally
from lastseat.stores.views import ViewStore
from lastseat.upkeep.force_sync import ForceSync
from lastseat.upkeep.sync_status import StatusBoard
from lastseat.upkeep.warmth import Warmth
from lastseat.upkeep.watch import Watch
from lastseat.web import access
from lastseat.web.app import create_app
from lastseat.web.readiness import Readiness
from lastseat.web.services import SampleStudent, Services
from lastseat.writes.again import SecondTry
from lastseat.writes.book import Booker
from lastseat.writes.cancel import Canceller
from lastseat.writes.exam_delivery import FullDelivery
from lastseat.writes.exams import ExamChanger
from lastseat.writes.move import Mover
from lastseat.writes.outcomes import Outcomes
from lastseat.writes.relay import Relay

_SAMPLES = 12
_SYNC_S = 20.0  # Limit: a forced sync may hold its request so long; then 503, and what it took stays taken.


def database_of(settings: Settings) -> PostgresDatabase | PostgrestDatabase:
    """The transport to Supabase: direct when SUPABASE_DB_URL is set, else REST with the service key."""
    if settings.supabase_db_url is not None:
        return PostgresDatabase(
            settings.supabase_db_url.get_secret_value(),
            connections=settings.postgres_pool,
            timeout_s=settings.store_timeout_s,
        )
    if settings.supabase_url and settings.supabase_service_key:
        return PostgrestDatabase(
            settings.supabase_url,
            settings.supabase_service_key.get_secret_value(),
            rest_path=settings.supabase_rest_path,
            connections=settings.postgres_pool,
            timeout_s=settings.store_timeout_s,
        )
    if settings.supabase_url or settings.supabase_service_key:
        names = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY")
        named, missing = names if settings.supabase_url else reversed(names)
        raise SetupError(f"{named} is set, {missing} is not.", way_out="REST needs both; or set SUPABASE_DB_URL.")
    raise SetupError(
        "No Supabase is configured.",
        way_out="Set SUPABASE_DB_URL, or SUPABASE_URL and SUPABASE_SERVICE_KEY; `lastseat demo` brings its own.",
    )


def ledger_of(settings: Settings, database: Database) -> UpkeepStore:
    """The seat ledger over a transport, with all that is kept beside it."""
    codec = Codec(settings.timezone, settings.hubspot_booking_key, settings.hubspot_exam_key)
    return UpkeepStore(database, codec, timezone=settings.timezone, verify_after_s=settings.verify_after_s)


@dataclass(frozen=True)
class _Parts:
    """What lives as long as the process."""

    settings: Settings
    database: PostgresDatabase | PostgrestDatabase
    ledger: Ledger
    trips: RedisTrips
    views: ViewStore
    bulletin: RedisBulletin
    hubspot: HubSpotClient
    budget: SharedBudget
    relay: Relay
    watch: Watch
    checker: Checker
    warmth: Warmth
    keys: SigningKeys | None

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Start listening and offering the relay; stop in reverse, letting calls under way end."""
        _rest_the_collector()
        self.bulletin.start()
        if self.keys is not None:
            await self.keys.fetch()  # before anybody asks with a token
        running = [asyncio.create_task(part.run()) for part in (self.watch, self.checker, self.warmth, self.relay)]
        if self.keys is not None:
            running.append(asyncio.create_task(self.keys.run()))
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            await self.bulletin.close()
            await self.views.close()
            await self.hubspot.close()
            await self.trips.close()
            await self.database.close()

    async def samples(self) -> list[SampleStudent]:
        """A few contacts to sign in as, in demo mode."""
        answer = await self.database.call("sample_contacts", msgspec.json.encode({"limit": _SAMPLES}))
        return msgspec.json.decode(answer, type=dict[str, list[SampleStudent]])["contacts"]


def _rest_the_collector() -> None:
    """Keep the cyclic collector away from what lives as long as the process.

    Measured in a rush of 2,000: it took a fifth of the CPU, walking the imported modules over and over.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def build(settings: Settings) -> Services:
    """One process's worth of everything, not started yet."""
    if settings.redis_url is None:
        raise SetupError("No Redis is configured.", way_out="Set REDIS_URL; `lastseat demo` brings its own.")
    redis_url = settings.redis_url.get_secret_value()
    database = database_of(settings)
    door = Breaker(database, settings)
    ledger, care = ledger_of(settings, door), Care(door)
    trips = RedisTrips(redis_url, timeout_s=settings.redis_timeout_s)
    gates = GateStore(trips, gate_ttl_s=settings.gate_ttl_s)
    views = ViewStore(trips, settings)
    bulletin = RedisBulletin(trips, views, url=redis_url, settings=settings)
    keeper = GateKeeper(gates, ledger, fresh_s=settings.body_age_s)
    bulletin.subscribe(keeper.hear)
    outcomes = Outcomes(bulletin)
    hubspot, budget = RememberingHubSpot(settings, ledger), SharedBudget(trips, settings)
    delivery = FullDelivery(hubspot, budget, settings, hubspot.recall)
    relay = Relay(ledger=ledger, delivery=delivery, budget=budget, bulletin=bulletin, settings=settings)
    watch = Watch(care, gates, settings, lambda: list(budget.past))
    readiness = Readiness(
        supabase=database.name,
        ask=lambda: ledger.gates([]),
        door=door,
        redis=bulletin,
        relay=relay,
        budget=budget,
        watch=watch,
    )
    looks = SeatLooks(gates, ledger)
    exams = ExamReads(ledger, looks, views, bulletin, settings)
    bookings = BookingReads(ledger, views, bulletin, settings, ages=exams.figures.ages_of_lists)
    staff_exams = StaffExamReads(ledger, looks, views, ages=exams.figures.ages_for_staff)
    checker = Checker(exams, staff_exams, bookings, ledger, ledger, settings)
    bulletin.subscribe(checker.hear)
    keys = SigningKeys(settings.supabase_url) if settings.supabase_url else None
    warmth = Warmth(database, connections=settings.postgres_pool)
    parts = _Parts(
        settings, database, ledger, trips, views, bulletin, hubspot, budget, relay, watch, checker, warmth, keys
    )
    return Services(
        settings=settings,
        exams=exams,
        staff_exams=staff_exams,
        bookings=bookings,
        booker=Booker(look=keeper.look, ledger=ledger, bulletin=bulletin, outcomes=outcomes, settings=settings),
        canceller=Canceller(ledger=ledger, bulletin=bulletin, outcomes=outcomes, settings=settings),
        changer=ExamChanger(ledger=ledger, bulletin=bulletin, outcomes=outcomes, settings=settings),
        mover=Mover(ledger=ledger, bulletin=bulletin, outcomes=outcomes, settings=settings),
        syncer=ForceSync(hubspot, ledger, budget, bulletin, settings, deadline_s=_SYNC_S),
        sync_status=StatusBoard(care),
        second_try=SecondTry(ledger=care, bulletin=bulletin),
        ready=readiness.parts,
        lifespan=parts.lifespan,
        samples=parts.samples,
        live=exams,
        news=bulletin.subscribe,
        tally=RedisTally(trips),
        keys=keys.find if keys is not None else None,
        figures=lambda labels: (*exams.figures.lines(labels), *readiness.lines(labels)),
    )


def app() -> FastAPI:
    """What each server process runs; reads the environment. Ends with the process that started it."""
    die_with_parent()
    settings = settings_module.load()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("lastseat").setLevel(logging.INFO)
    # While Postgres is away its pool would write a traceback each second; each call says it in one line already.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    if not settings.demo:
        access.switch_on()
    return create_app(build(settings))
