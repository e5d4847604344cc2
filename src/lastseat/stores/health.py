"""Asks the database, over any transport, whether it is ours and well guarded; never changes anything."""

from typing import Protocol

import msgspec

from lastseat.errors import LastseatError, SetupError
from lastseat.stores.schema_store import Applied
from lastseat.stores.sqlstates import Shut


class Named(Protocol):
    """A port Database that can say in an error who it is."""

    @property
    def name(self) -> str: ...
    @property
    def setting(self) -> str: ...
    async def call(self, function: str, args: bytes) -> bytes: ...


class _File(msgspec.Struct, frozen=True):
    name: str
    sha256: str
    version: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of itself.

    `unprotected_tables`: tables of `public` and of our schemas without row level security or without a policy; those
    of `public` are somebody else's. `exposed`: what a role of the public can reach of ours; must be empty.
    """

    server: str
    migrations: list[_File]
    functions: list[_File]
    routines: list[str]
    unprotected_tables: list[str]
    exposed: list[str]

    @property
    def applied(self) -> Applied:
        """To be compared with the files of this version."""
        return Applied(
            {file.version: (file.name, file.sha256) for file in self.migrations},
            {file.name: file.sha256 for file in self.functions},
            frozenset(self.routines),
        )


async def health_of(database: Named) -> Health:
    """Ask once; raise SetupError in one line with the way out when it cannot be used as configured."""
    try:
        answer = await database.call("health", b"{}")
    except Shut as error:
        raise SetupError(f"{error.message}.", way_out=error.way_out) from error
    except LastseatError as error:
        way_out = f"Check {database.setting} and that the database runs."
        raise SetupError(f"{error.message}.", way_out=way_out) from error
    return msgspec.json.decode(answer, type=Health)
