"""Starts a Redis that is no Valkey, for tests only; the product never runs one."""

import shutil
from pathlib import Path

from lastseat.embedded.valkey import EmbeddedValkey


class OtherRedis(EmbeddedValkey):
    """`program` under the settings of the embedded Valkey."""

    what = "Redis"

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(folder)
        # A virtual environment below a closed folder is out of reach for the account that servers run as.
        self._program = Path(shutil.copy(program, folder))

    def _command(self, port: int) -> list[str | Path]:
        return [self._program, *super()._command(port)[1:]]
