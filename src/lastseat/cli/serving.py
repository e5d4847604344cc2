"""`lastseat serve`: checks first, brings missing stores along, then hands over to granian; serves nothing itself."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import click
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels

from lastseat.cli import running
from lastseat.cli.folders import service_folder
from lastseat.cli.frame import run, say
from lastseat.cli.ports import need_free_port
from lastseat.cli.standing import need_current, need_transport, standing_of
from lastseat.embedded.ports import free_port
from lastseat.embedded.postgres import EmbeddedPostgres
from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import SetupError
from lastseat.rehearsal.lines import raise_file_limit
from lastseat.settings import Settings, load
from lastseat.stores.reach import hubspot_fault, redis_fault
from lastseat.upkeep import schema
from lastseat.web.auth import tokens_for

STOP_S = 8  # Limit: requests under way have this long to end; bookings not answered by then are in the ledger
SPARE_FILES = 1_000  # Limit: connections of plain requests and to the stores, beside the open streams
REDIS_ADVICE = "Going on without it: every question goes to the ledger, slower. Check REDIS_URL."
HUBSPOT_ADVICE = "Going on: seats are secured and answered 202 until it is back. Check HUBSPOT_BASE_URL."


class Stores(NamedTuple):
    """The stores that we brought along, as settings by name, and the folder that holds them (None: none)."""

    folder: Path | None
    environment: dict[str, str]


@click.command(short_help="Run the service with your settings.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: LASTSEAT_HOST or 127.0.0.1]")
@click.option(
    "--port", metavar="N", type=click.IntRange(1, 65535), help="TCP port.  [default: LASTSEAT_PORT or 8700]"
)
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(1, 64),
    help="Server processes.  [default: LASTSEAT_PROCESSES or 1]",
)
def serve(host: str | None, port: int | None, processes: int | None) -> None:
    """Run the service with the settings of the environment.

    Needs HUBSPOT_ACCESS_TOKEN, and SUPABASE_JWT_SECRET or SUPABASE_URL to verify tokens. Without SUPABASE_DB_URL
    (or SUPABASE_URL) and REDIS_URL it brings a Postgres and a Valkey of its own, kept in LASTSEAT_DATA_DIR. Ctrl-C
    stops it.
    """
    given = {"host": host, "port": port, "processes": processes}
    said: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    settings = load(**said)
    said["port"] = settings.port or free_port()
    need_free_port(settings.host, settings.port)
    _need_secrets(settings)
    need_transport(settings)
    with ExitStack() as open_stores:
        stores = bring_stores(settings, open_stores)
        settings = load(**said, **{name.lower(): value for name, value in stores.environment.items()})
        run(lambda: _look_around(settings, own_postgres="SUPABASE_DB_URL" in stores.environment))
        if stores.folder is not None:
            noting = open_stores.enter_context(running.Noting(stores.folder))
            noting.note(settings.port, stores.environment)
        _serve(settings, stores)


def _need_secrets(settings: Settings) -> None:
    if settings.hubspot_access_token is None:
        raise SetupError(
            "HUBSPOT_ACCESS_TOKEN is not set.",
            way_out="Set it to your private app's token, or try `lastseat demo`, which brings an emulated HubSpot.",
        )
    tokens_for(settings)


def bring_stores(settings: Settings, open_stores: ExitStack) -> Stores:
    """Start the stores that the environment does not name."""
    no_postgres = not settings.names_supabase
    if not no_postgres and settings.redis_url is not None:
        return Stores(None, {})
    folder = service_folder(settings.data_dir, say=say)
    found: dict[str, str] = {}
    if no_postgres:
        found["SUPABASE_DB_URL"] = open_stores.enter_context(EmbeddedPostgres(folder, on_progress=say)).url
    if settings.redis_url is None:
        found["REDIS_URL"] = open_stores.enter_context(EmbeddedValkey(folder, on_progress=say)).url
    return Stores(folder, found)


async def _look_around(settings: Settings, *, own_postgres: bool) -> None:
    """Refuse what cannot work, warn of what may come back."""
    if own_postgres and settings.supabase_db_url is not None:
        await schema.apply_to(settings.supabase_db_url.get_secret_value())
    standing = await standing_of(settings)
    need_current(standing)
    say(f"Supabase over {standing.transport}.")
    if settings.redis_url is not None and (fault := await redis_fault(settings.redis_url.get_secret_value())):
        say(f"lastseat: {fault} {REDIS_ADVICE}")
    if fault := await hubspot_fault(settings.hubspot_base_url):
        say(f"lastseat: {fault} {HUBSPOT_ADVICE}")


def _want_files(settings: Settings, may_open: int) -> None:
    """Warn where streams would use up what a process may open: the next reader could not even connect."""
    wanted = settings.events_most + SPARE_FILES
    if may_open < wanted:
        say(
            f"lastseat: a process may open {may_open:,} files here; LASTSEAT_EVENTS_MOST={settings.events_most} "
            f"needs {wanted:,}. Raise the limit (ulimit -Hn, LimitNOFILE), or lower LASTSEAT_EVENTS_MOST."
        )


def _serve(settings: Settings, stores: Stores) -> None:
    # The server processes read the environment, as they would on any other platform.
    os.environ.update(stores.environment)
    os.environ.update(
        LASTSEAT_HOST=settings.host, LASTSEAT_PORT=str(settings.port), LASTSEAT_PROCESSES=str(settings.processes)
    )
    _want_files(settings, raise_file_limit())
    server = Granian(
        "lastseat.wire:app",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.processes,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=settings.backlog,
        backpressure=settings.backpressure,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_S,
    )
    click.echo(f"Lastseat is at http://{settings.host}:{settings.port}")
    say("Ctrl-C stops it.")
    server.serve()
