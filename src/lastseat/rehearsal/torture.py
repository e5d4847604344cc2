"""A whole torture: stack up, demon and students let loose, calm, files kept, judge asked; never elsewhere."""

import asyncio
import os
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from lastseat.embedded.folder import Say, silent
from lastseat.errors import SetupError
from lastseat.model import ExamId
from lastseat.rehearsal import controls, history, kept
from lastseat.rehearsal.demon import Demon
from lastseat.rehearsal.fleet import Fleet
from lastseat.rehearsal.lines import ask, raise_file_limit
from lastseat.rehearsal.loopback import need_loopback, refuse_elsewhere
from lastseat.rehearsal.phone import Pen
from lastseat.rehearsal.rehearse import drained, gates_now, passing_folder, usable
from lastseat.rehearsal.schedule import LATE, LONGEST_LATE_S, SPOIL_EVERY_S, WEATHER, drawn_up, told
from lastseat.rehearsal.seed import Session, rush_school
from lastseat.rehearsal.stack import LocalStack, Plan
from lastseat.rehearsal.students import Client, Town, play, take_what_is_free
from lastseat.rehearsal.torture_judge import Report, judge
from lastseat.stores.dump import ledger_view

EXAMS_MOST: Final = 16
SEATS_PER_EXAM: Final = 24
CROWDED: Final = 5
"""Seats of an exam when it is to be seen that the last one is sold twice: then every seat is a last one."""
LATE_EVERY_S: Final = 3.0
WISHES_PER_S: Final = 140
VERIFY_AFTER_S: Final = LONGEST_LATE_S + 2
NEWS_S: Final = 1.0
"""How long the servers have to show what was done last; a tenth of it is promised."""
AVAILABLE: Final = "/api/mock-exams/available"


@dataclass(frozen=True, kw_only=True)
class Torture:
    """What to play. `patience_s`: how long, after the demon has ended, all that is open may take to end."""

    seconds: float = 120.0
    seed: int = 1
    processes: int = 3
    students: int = 300
    hubspot_limit: int = 190
    hubspot_latency_ms: int = 50
    patience_s: float = 60.0
    without: str = ""

    @property
    def exams(self) -> int:
        """So many that there are fewer seats than wishes."""
        return max(2, min(EXAMS_MOST, self.students // 18))

    @property
    def seats(self) -> int:
        """Of all exams together."""
        return self.exams * (CROWDED if self.without == controls.ROW_WAIT else SEATS_PER_EXAM)


async def torture(wanted: Torture, keep: Path | None, *, say: Say = silent) -> Report:
    """Play it and judge it from the files that it left in `keep`, or in a folder that is removed afterwards."""
    refuse_elsewhere(os.environ, "A torture")
    raise_file_limit()
    with passing_folder() as folder:
        with usable(keep or folder):
            files = keep_folder(keep or folder / "kept")
        plan = Plan(
            hubspot_limit=wanted.hubspot_limit,
            hubspot_latency_ms=wanted.hubspot_latency_ms,
            seed=wanted.seed,
            environment={"LASTSEAT_VERIFY_AFTER_S": str(VERIFY_AFTER_S), **controls.settings_without(wanted.without)},
        )
        async with LocalStack(folder / "data", plan, say=say) as stack:
            try:
                await _Play(stack, wanted, files, say).run()
            except ExceptionGroup as group:
                raise _first_of(group) from group
            finally:
                for log in (folder / "data").glob(history.SERVER_LOGS.format("*")):
                    shutil.copyfile(log, files / log.name)
        say("Judging from the files …")
        return judge(history.read_kept(files))


def keep_folder(folder: Path) -> Path:
    """A folder for the files: a new one, an empty one, or one that an earlier torture left, emptied."""
    whole = folder.expanduser().resolve()
    if whole.exists() and not whole.is_dir():
        raise SetupError(f"{whole} is not a folder.", way_out="Give --keep a new folder.")
    there = set(whole.iterdir()) if whole.exists() else set[Path]()
    ours = {path for pattern in history.FILES for path in whole.glob(pattern)}
    if there - ours:
        raise SetupError(f"{whole} holds other files.", way_out="Give --keep a new or empty folder.")
    whole.mkdir(parents=True, exist_ok=True)
    for path in ours:
        path.unlink()
    return whole


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first fault of many at once, so that it can be said in one line."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first  # pyright: ignore[reportUnknownArgumentType]  its type is lost in the check


class _Play:
    """The steps of one torture, in order."""

    def __init__(self, stack: LocalStack, wanted: Torture, files: Path, say: Say) -> None:
        self._stack = stack
        self._wanted = wanted
        self._files = files
        self._say = say
        late = wanted.without == controls.VERIFY
        self._blows = drawn_up(
            seed=wanted.seed,
            seconds=wanted.seconds,
            processes=wanted.processes,
            weather=LATE if late else WEATHER,
            spoil_every_s=LATE_EVERY_S if late else SPOIL_EVERY_S,
        )
        self._times: dict[str, float] = {}

    async def run(self) -> None:
        """From a school on paper to files for the judge."""
        stack, wanted = self._stack, self._wanted
        need_loopback([stack.embedded.postgres_url, stack.embedded.redis_url, stack.portal.url])
        await controls.take_away(wanted.without, stack.embedded.postgres_url)
        self._say("Filling in sessions and students …")
        school = rush_school(
            students=wanted.students,
            seats=wanted.seats,
            exams=wanted.exams,
            seed=wanted.seed,
            timezone=stack.settings.timezone,
        )
        exams, students = await stack.fill(school)
        fleet = Fleet(wanted.processes, stack.environment(), stack.folder, say=self._say)
        async with AsyncExitStack() as opened:
            opened.callback(fleet.stop)
            await fleet.start()
            pen = Pen(self._files / history.HISTORY)
            opened.callback(pen.close)
            town = Town(
                ports=fleet.ports,
                exams=exams,
                secret=stack.secret,
                seed=wanted.seed,
                pen=pen,
                pace_s=max(0.3, wanted.students / WISHES_PER_S),
            )
            clients = [Client(town, student) for student in students]
            demon = Demon(stack, fleet, say=self._say)
            await self._rage(demon, town, clients)
            views = await self._settle(town, clients)
            gates = await gates_now(stack.embedded.redis_url, [ExamId(exam.exam_id) for exam in exams])
            self._times["end_at"] = time.time()
        await self._keep(fleet, exams, demon, views, gates)

    async def _rage(self, demon: Demon, town: Town, clients: Sequence[Client]) -> None:
        self._say(f"What the demon will do (seed {self._wanted.seed}):")
        for line in told(self._blows):
            self._say(line)
        self._say(f"Letting {len(clients)} students loose …")
        self._times["began_at"] = time.time()
        async with asyncio.TaskGroup() as living:
            living.create_task(play(clients))
            async with asyncio.TaskGroup() as raging:
                raging.create_task(demon.rage(self._blows))
                raging.create_task(asyncio.sleep(self._wanted.seconds))
            await demon.calm()
            self._times["calm_at"] = time.time()
            self._say("Calm: whoever waits is answered …")
            town.until = time.time() + self._wanted.patience_s
            town.playing = False

    async def _settle(self, town: Town, clients: Sequence[Client]) -> list[Any]:
        """Everything arrives, then students take what is free, then everybody looks."""
        await self._drained()
        self._times["sweep_at"] = time.time()
        self._say("Students ask for every seat that is left …")
        town.until = time.time() + self._wanted.patience_s
        dice = random.Random(f"sweep:{self._wanted.seed}")  # noqa: S311  a rehearsal's chance, no secret
        await take_what_is_free(clients, town.exams, dice)
        await self._drained()
        await asyncio.sleep(NEWS_S)
        self._say("Everybody looks …")
        views = await asyncio.gather(*(self._list_of(server, port) for server, port in enumerate(town.ports)))
        for client in clients:
            views.append(await client.looked(dice.randrange(len(town.ports))))
            client.hang_up()
        return views

    async def _list_of(self, server: int, port: int) -> history.Viewed:
        reply = await ask(port, "GET", AVAILABLE)
        rows: list[dict[str, Any]] = []
        if reply.status == 200:
            rows = msgspec.json.decode(reply.body, type=dict[str, Any])["exams"]
        remaining = {str(row["id"]): int(row["remaining"]) for row in rows}
        return history.Viewed(server=server, remaining=remaining, status=reply.status)

    async def _drained(self) -> None:
        # Without its guard the second look never comes; nobody need wait for it.
        patience_s = 10.0 if self._wanted.without == controls.VERIFY else self._wanted.patience_s
        await drained(self._stack, patience_s, self._say)

    async def _keep(
        self, fleet: Fleet, exams: Sequence[Session], demon: Demon, views: Sequence[Any], gates: Sequence[Any]
    ) -> None:
        """Write everything that the judge will look at; the servers have stopped."""
        stack, wanted, files = self._stack, self._wanted, self._files
        trial = history.Trial(
            seed=wanted.seed,
            seconds=wanted.seconds,
            processes=wanted.processes,
            students=wanted.students,
            seats={exam.exam_id: exam.seats for exam in exams},
            hubspot_limit=wanted.hubspot_limit,
            without=wanted.without,
            booking_type=stack.settings.hubspot_booking_type,
            exam_type=stack.settings.hubspot_exam_type,
            booking_key=stack.settings.hubspot_booking_key,
            ports=fleet.ports,
            blows=self._blows,
            **self._times,
        )
        async with ledger_view(stack.embedded.postgres_url) as view:
            kept.write_ledger(files, await view.dump())
        history.write_lines(files / history.DEMON, sorted(demon.struck, key=lambda struck: struck.at))
        history.write_lines(files / history.VIEWS, list(views))
        (files / kept.GATES).write_bytes(msgspec.json.encode(gates))
        (files / kept.REQUESTS).write_bytes(stack.portal.log(since=0))
        (files / history.JOURNAL).write_bytes(stack.portal.journal())
        (files / kept.STATE).write_bytes(await stack.portal.state())
        (files / history.RUN).write_bytes(msgspec.json.format(msgspec.json.encode(trial), indent=1))
