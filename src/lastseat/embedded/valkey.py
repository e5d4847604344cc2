"""The embedded Valkey: starts it durable and on loopback only; never shows its password on a command line."""

import signal
import socket
import time
from pathlib import Path

from lastseat.embedded import ports
from lastseat.embedded.binaries import valkey_program
from lastseat.embedded.folder import is_finished, make_own, password, sign, write_private
from lastseat.embedded.part import Part
from lastseat.embedded.process import Child

ASK_S = 0.2  # Limit: a stranger on the port may accept and never answer; then we look again whether ours lives
BROKEN = ("Bad file format reading the append only file", "Fatal error loading the DB", "Wrong signature")
SETTINGS = """
bind {host}
port {port}
dir {home}
requirepass {word}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
loglevel notice
logfile ""
set-proc-title no
"""


class EmbeddedValkey(Part):
    """Valkey from the wheel, its data in `folder`/valkey; everything in it can be rebuilt."""

    what = "Valkey"
    stop_steps = ((signal.SIGTERM, 10.0),)
    death_signal = signal.SIGTERM

    @property
    def home(self) -> Path:
        return self.folder / "valkey"

    @property
    def url(self) -> str:
        return f"redis://:{self._word}@{ports.LOOPBACK}:{self.port}/0"

    @property
    def _settings_path(self) -> Path:
        return self.home / "valkey.conf"

    def _make_ready(self) -> None:
        self._word = password(self._word_path)
        if not is_finished(self.home):
            make_own(self.home, self._account)
            sign(self.home, self._account)

    def _command(self, port: int) -> list[str | Path]:
        text = SETTINGS.format(host=ports.LOOPBACK, port=port, home=_quoted(self.home), word=self._word)
        write_private(self._settings_path, text, self._account)
        return [valkey_program(self._account), self._settings_path]

    def _answers(self, child: Child, port: int) -> bool:
        del child  # another server on this port would not know the password
        try:
            with socket.create_connection((ports.LOOPBACK, port), timeout=ASK_S) as line:
                line.sendall(f"AUTH {self._word}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (piece := line.recv(256)):
                    answer += piece
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def _repaired(self, output: str) -> bool:
        """Start empty when the files cannot be read: all of it is rebuilt from Postgres; the old files are kept."""
        if not any(sign in output for sign in BROKEN):
            return False
        aside = self.home.with_name(f"valkey.broken-{time.time_ns()}")
        self.home.rename(aside)
        self._make_ready()
        self._say(f"Valkey could not read its files and starts empty; the old ones are in {aside}.")
        return True


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
