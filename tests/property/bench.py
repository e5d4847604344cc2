"""One event loop and one database for all runs of the machine; emptied before each."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

from lastseat.stores.dump import LedgerView
from tests.fault.kit import Rows, database_at, ledger_on

_EMPTY = """
truncate hubspot_sync.claims, hubspot_sync.outbox, hubspot_sync.hubspot_bookings, hubspot_sync.hubspot_mock_exams,
         hubspot_sync.audit_log, hubspot_sync.hubspot_contacts, hubspot_sync.cursors restart identity;
update hubspot_sync.relay_lease set holder = null, term = 0, expires_at = '-infinity';
"""


class Bench:
    def __init__(self, url: str):
        self._runner = asyncio.Runner()
        self._database = database_at(url, connections=2)
        self._connection: asyncpg.Connection = self.run(asyncpg.connect(url))
        self.rows = Rows(self._connection)
        # Sends may be looked at again at once: what is stuck lands first, see the machine.
        self.ledger = ledger_on(self._database, verify_after_s=0.000_001)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def empty(self) -> None:
        self.run(self._connection.execute(_EMPTY))

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        return self.run(LedgerView(self._connection).dump())

    def close(self) -> None:
        self.run(self._connection.close())
        self.run(self._database.close())
        self._runner.close()
