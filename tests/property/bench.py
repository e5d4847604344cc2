"""One event loop and one database for all runs of the machine; emptied before each."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import asyncpg
import msgspec

from lastseat.model import Gate
from lastseat.stores.dump import LedgerView
from tests.fault.kit import Rows, database_at, ledger_on

_EMPTY = """
truncate hubspot_sync.claims, hubspot_sync.outbox, hubspot_sync.hubspot_bookings, hubspot_sync.hubspot_mock_exams,
         hubspot_sync.audit_log, hubspot_sync.hubspot_contacts, hubspot_sync.cursors restart identity;
update hubspot_sync.relay_lease set holder = null, term = 0, expires_at = '-infinity';
"""


def gates_in(answer: object) -> Iterator[Gate]:
    """Every gate that an answer of the ledger holds."""
    if isinstance(answer, Gate):
        yield answer
    elif isinstance(answer, msgspec.Struct):
        for name in answer.__struct_fields__:
            yield from gates_in(getattr(answer, name))
    elif isinstance(answer, list | tuple):
        for part in answer:
            yield from gates_in(part)


class Overheard:
    """A ledger whose answers are listened to: `news` holds the newest gates as a Redis would, right or wrong."""

    def __init__(self, ledger):
        self._ledger = ledger
        self.news: dict[str, set[Gate]] = {}

    def __getattr__(self, name: str):
        asked = getattr(self._ledger, name)
        if name == "gates":
            return asked  # the truth, asked for by the test: it must not hide what was told before

        async def heard(*args: Any, **kwargs: Any) -> Any:
            answer = await asked(*args, **kwargs)
            for gate in gates_in(answer):
                known = self.news.setdefault(gate.exam_id, set())
                newest = max((one.version for one in known), default=gate.version)
                if gate.version > newest:
                    known.clear()
                if gate.version >= newest:
                    known.add(gate)
            return answer

        return heard


class Bench:
    def __init__(self, url: str):
        self.looked_at: Counter[str] = Counter()
        """By invariant, how many things its check could judge in all runs together."""
        self._runner = asyncio.Runner()
        self._database = database_at(url, connections=2)
        self._connection: asyncpg.Connection = self.run(asyncpg.connect(url))
        self.rows = Rows(self._connection)
        # Sends may be looked at again at once: what is stuck lands first, see the machine.
        self.ledger = Overheard(ledger_on(self._database, verify_after_s=0.000_001))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def empty(self) -> None:
        self.run(self._connection.execute(_EMPTY))
        self.ledger.news.clear()

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        return self.run(LedgerView(self._connection).dump())

    def close(self) -> None:
        self.run(self._connection.close())
        self.run(self._database.close())
        self._runner.close()
