"""`lastseat doctor`: checks the invariants over a running service or a kept run; never repairs anything."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from lastseat.cli import running
from lastseat.cli.folders import DEMO
from lastseat.cli.frame import run, say
from lastseat.cli.look import Look
from lastseat.cli.standing import Standing, need_transport
from lastseat.embedded.folder import data_folder
from lastseat.errors import Refused
from lastseat.rehearsal.judge import judge
from lastseat.rehearsal.kept import is_kept, read_kept
from lastseat.rehearsal.portal import REQUESTS_LOG
from lastseat.rehearsal.stack import EMULATOR
from lastseat.rehearsal.table import table
from lastseat.settings import Settings, load
from lastseat.upkeep.doctor import Report, examine, examine_twice, told

SECOND_LOOK_S: Final = 3.0
SITE_LOG: Final = "site.log"


@click.command(short_help="Check that nothing is lost, oversold or stranded.")
@click.option(
    "--data",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A run kept by `lastseat rush --keep`, or the data folder of a running demo.  [default: LASTSEAT_DATA_DIR]",
)
@click.option("--hubspot/--no-hubspot", default=True, help="Read HubSpot's bookings too, 100 a call.  [default: yes]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(folder: Path | None, *, hubspot: bool, as_json: bool) -> None:
    """Check the invariants I1 to I9 over all stores, and explain what is wrong.

    Looks at the stores that the environment names, else at what runs in the data folder, and says which way it went,
    whether the schema is this version's and what lies open. A finding in a running service counts when a second look
    shows it again. Of a kept run the numbers are shown too. Exit 1 when a promise is broken or there is nothing to
    check.
    """
    if folder is not None and is_kept(folder):
        kept = read_kept(folder)
        report, rush = examine(kept.evidence), judge(kept)
        healthy, head, more = rush.passed, table(rush.total), {"rush": rush.total}
    else:
        report, standing = _of_running(folder, hubspot=hubspot, as_json=as_json)
        healthy, head, more = standing.healthy, standing.told, {"supabase": standing.as_json}
    click.echo(_as_json(report, more, healthy=healthy) if as_json else f"{head}\n{told(report)}")
    raise SystemExit(0 if report.healthy and healthy else 1)


def _of_running(folder: Path | None, *, hubspot: bool, as_json: bool) -> tuple[Report, Standing]:
    settings = load()
    log_path = calls_path = None
    need_transport(settings)
    if folder is not None or not settings.names_supabase:
        folder, settings = _noted(folder or data_folder(settings.data_dir))
        log_path, calls_path = folder / SITE_LOG, folder / EMULATOR / REQUESTS_LOG
    look = Look(settings, hubspot=hubspot, log_path=log_path, calls_path=calls_path, say=say)
    try:
        report = run(lambda: examine_twice(look.evidence, lambda: asyncio.sleep(SECOND_LOOK_S)))
    except Refused:
        if look.standing is not None and not as_json:
            click.echo(look.standing.told)
        raise
    assert look.standing is not None
    return report, look.standing


def _noted(folder: Path) -> tuple[Path, Settings]:
    """What runs here: the service, else the demo."""
    for place in (folder, folder / DEMO):
        note = running.read_note(place)
        if note is not None:
            return place, load(**{name.lower(): value for name, value in note.environment.items()})
    raise Refused(
        f"Nothing to check: nothing runs in {folder}, and it is no kept run. Start `lastseat demo`, "
        "or set SUPABASE_DB_URL, or give --data a folder that `lastseat rush --keep` filled.",
        code="NOT_FOUND",
    )


def _as_json(report: Report, more: Mapping[str, object], *, healthy: bool) -> str:
    body: dict[str, object] = {
        "healthy": report.healthy and healthy,
        "seen": report.seen,
        "invariants": [
            {
                "invariant": verdict.invariant,
                "promise": verdict.promise,
                "looked_at": verdict.looked_at,
                "broken": verdict.broken,
                "findings": verdict.findings,
            }
            for verdict in report.verdicts
        ],
        **more,
    }
    return msgspec.json.encode(body).decode()
