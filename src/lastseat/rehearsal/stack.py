"""A whole Lastseat on this machine: stores, emulated HubSpot and site, all children of ours; never touches others."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from lastseat.embedded.folder import Say, silent, write_private
from lastseat.embedded.stack import EmbeddedStack
from lastseat.model import Properties, Record
from lastseat.rehearsal.portal import TOKEN, Portal
from lastseat.rehearsal.postgrest import EmbeddedPostgrest, found_program
from lastseat.rehearsal.seed import School, Session, Student
from lastseat.rehearsal.site import Site
from lastseat.rehearsal.tokens import SECRET_FILE
from lastseat.settings import Settings
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger
from lastseat.stores.postgres import PostgresDatabase
from lastseat.upkeep import schema

Done = TypeVar("Done")
EMULATOR = "hubspot"
"""The folder of the emulated HubSpot below that of its stack."""
MIRROR_ROWS = 500  # Limit: rows in one call, so that a large school does not become one long transaction


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start: how many server processes, how HubSpot behaves, which settings differ."""

    processes: int = 1
    hubspot_limit: int = 100
    hubspot_latency_ms: float = 0
    hubspot_faults: str = ""
    seed: int = 0
    port: int | None = None
    demo: bool = False
    transport: str = "direct"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class LocalStack:
    """Starts everything in order and stops it in reverse; `async with` it.

    The stores and HubSpot come first (`enter`), then the school is filled in, then the site opens (`open_site`).
    """

    def __init__(self, folder: Path, plan: Plan, *, say: Say = silent) -> None:
        self.folder = folder
        self.plan = plan
        # The emulated portal has the types and names of the defaults, whatever the operator's own portal has.
        self.settings = Settings.model_construct(timezone=os.environ.get("LASTSEAT_TIMEZONE") or "America/Toronto")
        self.secret = ""
        self._say = say
        self._open = AsyncExitStack()
        self.embedded = EmbeddedStack(folder, on_progress=say)
        self.portal = Portal(
            folder / EMULATOR,
            limit=plan.hubspot_limit,
            latency_ms=plan.hubspot_latency_ms,
            faults=plan.hubspot_faults,
            seed=plan.seed,
            say=say,
        )
        self._postgrest_program = found_program() if plan.transport == "rest" else None
        self.postgrest: EmbeddedPostgrest | None = None
        self.site: Site | None = None
        self.opened_at = 0.0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            opening.callback(self.embedded.stop)
            await in_thread(self.embedded.start)
            self._say("Bringing the ledger's schema up to date …")
            await schema.apply_to(self.embedded.postgres_url)
            await self._start_postgrest(opening)
            opening.callback(self.portal.stop)
            await self.portal.start()
            self.secret = kept_secret(self.folder)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def _start_postgrest(self, opening: AsyncExitStack) -> None:
        if self._postgrest_program is not None:
            self.postgrest = EmbeddedPostgrest(
                self.folder / "postgrest",
                self.embedded.postgres_url,
                program=self._postgrest_program,
                say=self._say,
            )
            opening.callback(self.postgrest.stop)
            await self.postgrest.start()

    async def open_site(self) -> Site:
        """Start the server processes and wait until all of them answer."""
        site = Site(
            self.environment(),
            log_path=self.folder / "site.log",
            processes=self.plan.processes,
            port=self.plan.port,
            say=self._say,
        )
        self._open.callback(site.stop)
        self.opened_at = time.time()
        await site.start()
        self.site = site
        return site

    def environment(self) -> dict[str, str]:
        """The settings of the site: what the plan says, over what the operator's environment says."""
        ours = {name: value for name, value in os.environ.items() if name.startswith("LASTSEAT_")}
        return {
            **ours,
            **self.plan.environment,
            "LASTSEAT_HOST": "127.0.0.1",
            "LASTSEAT_DEMO": "true" if self.plan.demo else "false",
            "LASTSEAT_DATA_DIR": str(self.folder),
            **self._way_to_postgres(),
            "SUPABASE_JWT_SECRET": self.secret,
            "REDIS_URL": self.embedded.redis_url,
            "HUBSPOT_BASE_URL": self.portal.url,
            "HUBSPOT_ACCESS_TOKEN": TOKEN,
            "HUBSPOT_RATE_LIMIT": str(self.plan.hubspot_limit),
        }

    def _way_to_postgres(self) -> dict[str, str]:
        if self.postgrest is None:
            return {"SUPABASE_DB_URL": self.embedded.postgres_url}
        return {
            "SUPABASE_URL": self.postgrest.url,
            "SUPABASE_REST_PATH": "",
            "SUPABASE_SERVICE_KEY": self.postgrest.key("service_role"),
        }

    async def fill(self, school: School) -> tuple[list[Session], list[Student]]:
        """Put a school into HubSpot and mirror it into the ledger, as a backfill would have."""
        types = (self.settings.hubspot_exam_type, self.settings.hubspot_contact_type)
        ids = await self.portal.sow({types[0]: school.exams, types[1]: school.contacts})
        exams = [Session(exam_id=i, properties=p) for i, p in zip(ids[types[0]], school.exams, strict=True)]
        students = [Student(contact_id=i, properties=p) for i, p in zip(ids[types[1]], school.contacts, strict=True)]
        await self.mirror(exams, students)
        return exams, students

    async def known(self) -> tuple[list[Session], list[Student]]:
        """The sessions and students that HubSpot already holds."""
        state = msgspec.json.decode(await self.portal.state(), type=_State).objects
        exams = [Session(exam_id=r.id, properties=r.properties) for r in state[self.settings.hubspot_exam_type]]
        contacts = state[self.settings.hubspot_contact_type]
        return exams, [Student(contact_id=r.id, properties=r.properties) for r in contacts if not r.archived]

    async def mirror(self, exams: Sequence[Session], students: Sequence[Student]) -> None:
        """Bring the ledger's mirror up to these; doing it again changes nothing."""
        database = PostgresDatabase(
            self.embedded.postgres_url, connections=1, timeout_s=self.settings.store_timeout_s
        )
        try:
            ledger = self._ledger(database)
            for some in _portions(_records([(e.exam_id, e.properties) for e in exams])):
                await ledger.mirror(exams=some)
            for some in _portions(_records([(s.contact_id, s.properties) for s in students])):
                await ledger.mirror(contacts=some)
        finally:
            await database.close()

    def _ledger(self, database: PostgresDatabase) -> Ledger:
        settings = self.settings
        codec = Codec(timezone=settings.timezone, booking_key=settings.hubspot_booking_key)
        return Ledger(database, codec, timezone=settings.timezone, verify_after_s=settings.verify_after_s)


class _Held(msgspec.Struct):
    id: str
    properties: dict[str, str]
    archived: bool = False


class _State(msgspec.Struct):
    objects: dict[str, list[_Held]]


def _portions(rows: list[Record]) -> list[list[Record]]:
    return [rows[start : start + MIRROR_ROWS] for start in range(0, len(rows), MIRROR_ROWS)]


def _records(rows: Sequence[tuple[str, Properties]]) -> list[Record]:
    return [Record(hubspot_id=hubspot_id, properties=dict(properties)) for hubspot_id, properties in rows]


def kept_secret(folder: Path) -> str:
    """The secret that signs this stack's own tokens, made once per data folder."""
    path = folder / SECRET_FILE
    if not path.exists():
        write_private(path, secrets.token_hex(32) + "\n")
    return path.read_text().strip()


async def in_thread(work: Callable[[], Done]) -> Done:
    """Run blocking work beside the loop; a cancelled caller still waits for its end, so that nothing is half open."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
