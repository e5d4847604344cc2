"""Brings a database to this version's schema, from the SQL files beside the stores; never edits what was applied.

Migrations (`stores/sql/migrations/NNNN_name.sql`) run once, in order, and must not change afterwards. Function
files (`stores/sql/functions/*.sql`) are applied again, all of them, when one has changed. What is printed for
Supabase's SQL editor is exactly what is run over a connection.
"""

import hashlib
import importlib.resources
import json
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from lastseat.errors import SetupError
from lastseat.stores import schema_store
from lastseat.stores.schema_store import Applied, Step

_MIGRATION_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_QUOTES = ("$lastseat_step$", "$lastseat_body$")


class SqlFile(NamedTuple):
    """One file of the schema; `version` is 0 for function files."""

    version: int
    name: str
    body: str

    @property
    def sha256(self) -> str:
        """The digest under which it is remembered."""
        return hashlib.sha256(self.body.encode()).hexdigest()


class Files(NamedTuple):
    """The whole schema, in the order of application."""

    migrations: list[SqlFile]
    functions: list[SqlFile]


FileState = Literal["applied", "pending", "edited", "changed", "unknown"]


class Report(NamedTuple):
    """How a database compares with the files, and what this run did (`changed`, `dropped`: empty for a status).

    A migration is applied, pending, edited (refused) or unknown (the database is newer); a function file is
    applied, pending, changed or unknown (no longer there).
    """

    migrations: dict[str, FileState]
    functions: dict[str, FileState]
    changed: list[str]
    dropped: list[str]

    @property
    def current(self) -> bool:
        """True when there is nothing to apply and nothing to refuse."""
        return all(state == "applied" for state in (*self.migrations.values(), *self.functions.values()))


async def apply_to(url: str) -> Report:
    """Apply what is missing, all or nothing; raise SetupError with one line when the database does not fit."""
    files = load()
    before, after = await schema_store.run(url, steps(files))
    return compare(files, after)._replace(
        changed=_changed(before, after), dropped=sorted(before.routines - after.routines)
    )


async def status_of(url: str) -> Report:
    """Compare without changing anything."""
    return compare(load(), await schema_store.read(url))


def printed() -> str:
    """The SQL of `apply_to` for a SQL editor; safe to paste twice."""
    return "\n".join(["begin;\n", *(step.sql for step in steps(load())), "commit;\n"])


def load() -> Files:
    """Read the files out of the package; raise SetupError when their names are not in order."""
    folder = importlib.resources.files("lastseat").joinpath("stores", "sql")
    found: dict[str, list[SqlFile]] = {}
    for kind in ("migrations", "functions"):
        entries = sorted(folder.joinpath(kind).iterdir(), key=lambda entry: entry.name)
        found[kind] = [
            SqlFile(0, entry.name, entry.read_text("utf-8").replace("\r\n", "\n"))
            for entry in entries
            if entry.name.endswith(".sql")
        ]
    return Files(numbered(found["migrations"]), found["functions"])


def numbered(migrations: Iterable[SqlFile]) -> list[SqlFile]:
    """Give each migration the version of its name; they must be 0001, 0002, … without a gap."""
    result: list[SqlFile] = []
    for expected, file in enumerate(migrations, start=1):
        match = _MIGRATION_NAME.fullmatch(file.name)
        if match is None or int(match.group(1)) != expected:
            raise SetupError(
                f"Migration {file.name} is out of order: number {expected:04d} is next.", way_out="Rename the file."
            )
        result.append(file._replace(version=expected))
    return result


def steps(files: Files) -> list[Step]:
    """Everything to run in one transaction; safe to repeat, since each step looks first."""
    known = {
        "migrations": [{"version": f.version, "name": f.name, "sha256": f.sha256} for f in files.migrations],
        "functions": [{"name": f.name, "sha256": f.sha256} for f in files.functions],
    }
    settings = "".join(
        f"select set_config('lastseat.{kind}', '{json.dumps(entries)}', true);\n" for kind, entries in known.items()
    )
    return [
        Step("the start", _template("1_begin")),
        Step("the list of files", settings),
        Step("the check", _template("2_refuse")),
        *(_wrapped("3_migration", file) for file in files.migrations),
        Step("the comparison", _template("4_stale")),
        *(_wrapped("5_function", file) for file in files.functions),
        Step("the end", _template("6_end")),
    ]


def compare(files: Files, applied: Applied) -> Report:
    """Name the state of every file and of everything that the database has and the files lack."""
    migrations: dict[str, FileState] = {}
    for file in files.migrations:
        known = applied.migrations.get(file.version)
        migrations[file.name] = "pending" if known is None else "applied" if known[1] == file.sha256 else "edited"
    for version, (name, _) in sorted(applied.migrations.items()):
        if version > len(files.migrations):
            migrations[name] = "unknown"
    functions: dict[str, FileState] = {}
    for file in files.functions:
        digest = applied.functions.get(file.name)
        functions[file.name] = "pending" if digest is None else "applied" if digest == file.sha256 else "changed"
    for name in sorted(applied.functions.keys() - functions.keys()):
        functions[name] = "unknown"
    return Report(migrations, functions, [], [])


def _changed(before: Applied, after: Applied) -> list[str]:
    migrations = [
        after.migrations[version][0] for version in sorted(after.migrations.keys() - before.migrations.keys())
    ]
    return migrations + sorted(
        name for name, digest in after.functions.items() if before.functions.get(name) != digest
    )


def _wrapped(template: str, file: SqlFile) -> Step:
    if any(quote in file.body for quote in _QUOTES):
        raise SetupError(f"{file.name} uses a quote that is reserved.", way_out="Use another dollar quote in it.")
    sql = _template(template)
    for field, value in {
        "version": str(file.version),
        "name": file.name,
        "sha256": file.sha256,
        "body": file.body,
    }.items():
        sql = sql.replace("{" + field + "}", value)
    return Step(file.name, sql)


def _template(name: str) -> str:
    return importlib.resources.files("lastseat").joinpath("stores", "sql", "upkeep", f"{name}.sql").read_text("utf-8")
