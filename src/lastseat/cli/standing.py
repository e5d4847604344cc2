"""Learns how the database that the settings name stands: way, schema, what lies open; never changes anything."""

import msgspec

from lastseat.errors import SetupError
from lastseat.settings import Settings
from lastseat.stores.health import health_of
from lastseat.stores.sqlstates import APPLY
from lastseat.upkeep import schema
from lastseat.wire import database_of

NEWER = "Use the version of Lastseat that this database was set up with."
OURS = ("hubspot_sync.", "lastseat_api.")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of itself, compared with this version.

    `differs`: files of the schema by name that are not applied as they are here. `unprotected_tables` and `exposed`
    as in `stores.health`.
    """

    transport: str
    server: str
    differs: dict[str, str]
    newer: bool
    unprotected_tables: list[str]
    exposed: list[str]

    @property
    def open(self) -> list[str]:
        """What of ours lies open; must be empty."""
        bare = [f"table {name} (no row level security)" for name in self.unprotected_tables if name.startswith(OURS)]
        return bare + self.exposed

    @property
    def strangers(self) -> list[str]:
        """Somebody else's tables that lie open."""
        return [name for name in self.unprotected_tables if not name.startswith(OURS)]

    @property
    def healthy(self) -> bool:
        """Whether the schema is this version's; what lies open is for I9 to say."""
        return not self.differs

    @property
    def told(self) -> str:
        """For people."""
        fault = f"BROKEN  {self.fault} {self.way_out}" if self.fault else "this version's"
        theirs = f"; of others, not ours to close: {', '.join(self.strangers)}" if self.strangers else ""
        return "\n".join(
            [
                f"Supabase over {self.transport}; its server is {self.server}.",
                f"Schema: {fault.rstrip('.')}.",
                f"Open to the public: {', '.join(self.open) or 'nothing of ours'}{theirs}.",
            ]
        )

    @property
    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "transport": self.transport,
            "server": self.server,
            "schema": {"current": not self.differs, "differs": self.differs},
            "unprotected_tables": self.unprotected_tables,
            "exposed": self.exposed,
        }

    @property
    def fault(self) -> str | None:
        """How the schema differs, or None."""
        if not self.differs:
            return None
        (name, state), *more = self.differs.items()
        others = f", and {len(more)} more differ" if more else ""
        return f"The database's schema is not this version's: {name} is {state}{others}."

    @property
    def way_out(self) -> str:
        """What to do about `fault`."""
        return NEWER if self.newer else APPLY


async def standing_of(settings: Settings) -> Standing:
    """Ask once, over the transport that the service would use; raise SetupError when it cannot be used."""
    database = database_of(settings)
    try:
        health = await health_of(database)
        report = schema.compare(schema.load(), health.applied)
        return Standing(
            transport=database.described,
            server=health.server,
            differs={
                name: state for name, state in {**report.migrations, **report.functions}.items() if state != "applied"
            },
            newer=any(state in {"edited", "unknown"} for state in report.migrations.values()),
            unprotected_tables=health.unprotected_tables,
            exposed=health.exposed,
        )
    finally:
        await database.close()


def need_current(standing: Standing) -> None:
    """Refuse a database whose schema is another version's."""
    if standing.fault is not None:
        raise SetupError(standing.fault, way_out=standing.way_out)


def need_transport(settings: Settings) -> None:
    """Refuse, before anything starts, settings that name no way to Supabase though they mean one."""
    if settings.names_supabase or settings.supabase_service_key is not None:
        database_of(settings)
