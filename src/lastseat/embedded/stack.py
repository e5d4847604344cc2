"""Both embedded servers as one thing that starts and stops together; never shares its data folder with another."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from lastseat.embedded.account import service_account
from lastseat.embedded.folder import MARK, Hold, Say, prepare, silent
from lastseat.embedded.postgres import EmbeddedPostgres
from lastseat.embedded.valkey import EmbeddedValkey


class EmbeddedStack:
    """Postgres and Valkey on one data folder, held for as long as it runs.

    `postgres` and `valkey` are there for fault tests: `kill()` and `restart()` keep port and password.
    """

    def __init__(self, folder: Path, *, on_progress: Say = silent) -> None:
        """Nothing starts before `start()` or `with`."""
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder, on_progress=on_progress)
        self.valkey = EmbeddedValkey(folder, on_progress=on_progress)
        self._open = ExitStack()

    def start(self) -> None:
        """Start both, one after the other: Valkey takes 0.05 s, so doing it beside Postgres would win nothing."""
        with ExitStack() as opening:
            self.folder = prepare(self.folder, service_account())
            opening.enter_context(Hold(self.folder / MARK, f"The data folder {self.folder}"))
            opening.enter_context(self.postgres)
            opening.enter_context(self.valkey)
            self._open = opening.pop_all()

    def stop(self) -> None:
        """Stop both in the reverse order and give the folder free."""
        self._open.close()

    @property
    def postgres_url(self) -> str:
        """What SUPABASE_DB_URL would be."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """What REDIS_URL would be."""
        return self.valkey.url

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
