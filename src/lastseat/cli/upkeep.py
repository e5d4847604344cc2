"""`lastseat backfill` and `lastseat sync`: options in, progress and findings out; reads no record itself."""

import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Final, TypeVar

import click
import msgspec

from lastseat.cli.frame import Stopped, run, say
from lastseat.cli.tools import Tools, settings_with_stores, tools
from lastseat.errors import LastseatError, Refused
from lastseat.model import ExamId
from lastseat.ports import Found, RecordKind
from lastseat.upkeep.backfill import PASSES, Backfill, Progress, Report
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.force_sync import ForceSync, Synced
from lastseat.upkeep.intake import Overtaken, Rejected
from lastseat.web.fields import is_record_id

SHOWN: Final = 20  # Limit: findings of one kind told one by one; the rest is counted. --json has more.
BAR: Final = 30
LONG_WAIT_S: Final = 2.0
ACTOR: Final = "operator"
AGAIN: Final = "Run `lastseat backfill` again: it goes on where this run stopped."
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
Done = TypeVar("Done")


@click.command(short_help="Read everything from HubSpot into the database, once.")
@click.option("--restart", is_flag=True, help="Begin anew, although an earlier run was not finished.")
@json_option
def backfill(*, restart: bool, as_json: bool) -> None:
    """Read all exams, contacts and bookings from HubSpot, archived ones too, into the database.

    Safe to run twice and while students book: only what is newer is taken, and its calls stand behind theirs. Ctrl-C,
    a kill or an outage costs nothing: the next run goes on from there. Prints what was read, what could not be taken,
    and what is odd: oversold exams, students with two bookings in one exam, bookings of unknown contacts.
    """
    bar = Bar()
    try:
        report = _run(lambda tools: _backfilled(tools, bar, restart=restart))
    except (Stopped, LastseatError) as stop:
        bar.end()
        if bar.began and not isinstance(stop, Overtaken):
            say(AGAIN)
        raise stop from None
    bar.end()
    click.echo(msgspec.json.encode(report).decode() if as_json else told(report))


@click.group(short_help="Bring exams, or one exam's bookings, up to HubSpot.")
def sync() -> None:
    """Bring the database up to HubSpot by hand, by lists and reads by id, behind the bookings."""


@sync.command()
@json_option
def exams(*, as_json: bool) -> None:
    """All exams, archived ones too."""
    _tell(_run(lambda tools: _syncing(tools).exams(ACTOR)), as_json=as_json)


@sync.command()
@click.option("--exam", "exam_id", metavar="ID", required=True, help="HubSpot's record id of the exam.")
@json_option
def bookings(exam_id: str, *, as_json: bool) -> None:
    """The bookings of one exam: by association, and those that the database shows in it."""
    if not is_record_id(exam_id):
        raise Refused(f"{exam_id!r} is not a HubSpot record id: digits only.", field="exam")
    _tell(_run(lambda tools: _syncing(tools).bookings(ExamId(exam_id), ACTOR)), as_json=as_json)


class Bar:
    """One line on stderr that grows; nothing at all where stderr is no terminal."""

    def __init__(self) -> None:
        self.began = False
        self.known: Mapping[RecordKind, int] = {}
        self._shown = False

    def show(self, progress: Progress) -> None:
        """How far it is. The database says how many there were last time; HubSpot's lists do not say."""
        self.began = True
        kind, archived = PASSES[min(progress.step, len(PASSES) - 1)]
        counts = progress.read.get(kind, {})
        count, known = counts.get("archived" if archived else "live", 0), self.known.get(kind, 0)
        name = f"archived {kind}" if archived else kind
        if archived or not known:
            self._write(f"{name}: {count:,}")
        else:
            filled = "#" * min(BAR, BAR * count // known)
            self._write(f"{name} [{filled:{BAR}}] {count:,} of about {max(known, count):,}")

    def wait(self, wait_s: float) -> None:
        """Say why nothing moves."""
        if wait_s >= LONG_WAIT_S:
            self._write(f"HubSpot's calls are needed for bookings; going on in {wait_s:.0f} s")

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            click.echo(err=True)
            self._shown = False

    def _write(self, line: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K  {line}", err=True, nl=False)
            self._shown = True


def _run(work: Callable[[Tools], Coroutine[Any, Any, Done]]) -> Done:
    async def worked() -> Done:
        async with tools(settings) as opened:
            return await work(opened)

    with ExitStack() as open_stores:
        settings = settings_with_stores(open_stores)
        return run(worked)


async def _backfilled(opened: Tools, bar: Bar, *, restart: bool) -> Report:
    calls = Calls(opened.budget, opened.settings, "backfill", on_wait=bar.wait, begins=True)
    work = Backfill(opened.lists, opened.store, calls, opened.bulletin, opened.settings, on_page=bar.show)
    if sys.stderr.isatty():
        _, now = await opened.store.cursor("backfill")
        held = (await opened.store.survey(now, 0)).held
        bar.known = {kind: counts.get("live", 0) for kind, counts in held.items()}
    return await work.run(restart=restart)


def _syncing(opened: Tools) -> ForceSync:
    return ForceSync(opened.lists, opened.store, opened.budget, opened.bulletin, opened.settings, begins=True)


def _tell(done: Synced, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"message": done.message, **msgspec.structs.asdict(done)}).decode())
        return
    gone = f"; {done.archived:,} are archived or gone" if done.archived else ""
    click.echo("\n".join([f"{done.message}{gone}.", *_lines_of(done.rejected)]))


def told(report: Report) -> str:
    """A finished backfill for people."""
    read = ", ".join(f"{counts['live']:,} {kind}" for kind, counts in report.read.items())
    archived = sum(counts["archived"] for counts in report.read.values())
    held = report.survey.held["bookings"]
    lines = [
        f"Read from HubSpot: {read}; {archived:,} archived records; {report.calls:,} calls.",
        f"The database now holds {held['live']:,} bookings, {held['holding a seat']:,} of them hold a seat.",
    ]
    if report.rejected_count:
        lines += [f"Not taken as they are: {report.rejected_count:,}", *_lines_of(report.rejected)]
    for title, found, line in _findings(report):
        if found.count:
            lines.append(f"{title}: {found.count:,}")
            lines += [f"  {line.format_map(one)}" for one in found.first[:SHOWN]]
            lines += _more(found.count)
    return "\n".join(lines)


def _findings(report: Report) -> Iterable[tuple[str, Found, str]]:
    survey = report.survey
    return (
        ("Exams oversold when they came in", survey.oversold, "exam {exam_id}: {seats_taken} of {capacity} ({name})"),
        (
            "Students with several bookings in one exam",
            survey.doubles,
            "contact {contact_id}, exam {exam_id}: {booking_ids}",
        ),
        ("Values of the unique property that occur twice", survey.duplicate_keys, "{key}: {booking_ids}"),
        ("Bookings of unknown contacts", survey.unknown_contacts, "booking {booking_id}: contact {contact_id}"),
        ("Bookings of unknown exams", survey.unknown_exams, "booking {booking_id}: exam {exam_id}"),
        ("In the database, but not listed by HubSpot, left as they are", survey.unseen, "{kind} {id}"),
    )


def _lines_of(rejected: list[Rejected]) -> list[str]:
    return [f"  {one.kind} {one.id}: {one.reason}" for one in rejected[:SHOWN]] + _more(len(rejected))


def _more(count: int) -> list[str]:
    return [f"  … and {count - SHOWN:,} more"] if count > SHOWN else []
