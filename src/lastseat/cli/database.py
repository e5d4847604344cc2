"""`lastseat schema`: brings a database to this version, or shows how it compares; holds no SQL and no rule itself."""

import click
import msgspec

from lastseat.cli.frame import run, say
from lastseat.errors import SetupError
from lastseat.settings import load
from lastseat.upkeep import schema as files

URL_HELP = "Database to work on, as postgresql://…; a session or direct connection.  [default: SUPABASE_DB_URL]"
url_option = click.option("--url", help=URL_HELP)


@click.group(short_help="Create or update the tables in Postgres.")
def schema() -> None:
    """Create and update the tables and functions in Postgres."""


@schema.command()
@url_option
def apply(url: str | None) -> None:
    """Apply what is missing, all of it or nothing; applying twice changes nothing."""
    wanted = _wanted(url)
    report = run(lambda: files.apply_to(wanted))
    for name in report.changed:
        say(f"applied {name}")
    for name in report.dropped:
        say(f"dropped {name}")
    click.echo("The schema is up to date." if not report.changed else f"Applied {len(report.changed)} files.")


@schema.command()
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(url: str | None, *, as_json: bool) -> None:
    """Compare the database with this version's files; exit 1 when they differ."""
    wanted = _wanted(url)
    report = run(lambda: files.status_of(wanted))
    if as_json:
        click.echo(_as_json(report))
    else:
        for name, state in {**report.migrations, **report.functions}.items():
            click.echo(f"{state:8} {name}")
    raise SystemExit(0 if report.current else 1)


@schema.command(name="print")
def print_() -> None:
    """Print the SQL for Supabase's SQL editor; safe to paste twice."""
    click.echo(files.printed())


def _as_json(report: files.Report) -> str:
    body = {"current": report.current, "migrations": report.migrations, "functions": report.functions}
    return msgspec.json.encode(body).decode()


def _wanted(url: str | None) -> str:
    if url:
        return url
    known = load().supabase_db_url
    if known is None:
        raise SetupError(
            "No database is named.",
            way_out="Set SUPABASE_DB_URL or give --url. (The embedded Postgres needs no step here.)",
        )
    return known.get_secret_value()
