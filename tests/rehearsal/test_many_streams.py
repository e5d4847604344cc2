"""A real `lastseat serve` goes on answering while more streams are open than its server would hold by default."""

import asyncio
import contextlib
import itertools
import json
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from lastseat.embedded.ports import free_port
from lastseat.embedded.process import bare_environment
from lastseat.errors import SetupError
from lastseat.rehearsal.lines import LOOPBACK, ask, raise_file_limit
from lastseat.rehearsal.site import Site
from lastseat.settings import load
from lastseat.stores.keys import NEWS
from tests.rehearsal.openings import begins

STREAMS = 1_100
GRANIANS_DEFAULT = 1_024
AT_ONCE = 100
PATIENCE_S = 5.0
AVAILABLE = "/api/mock-exams/available"
# The same command, with what granian does when nobody tells it otherwise.
BY_DEFAULT = f"""
import sys
import lastseat.cli.serving as serving
from lastseat.cli import main
made = serving.Granian
serving.Granian = lambda *args, **told: made(*args, **told | {{"backpressure": {GRANIANS_DEFAULT}, "backlog": 1024}})
sys.exit(main(["serve"]))
"""


class DefaultSite(Site):
    """A server process that was not told how much it must hold."""

    def _command(self) -> list[str]:
        return [sys.executable, "-c", BY_DEFAULT]


@asynccontextmanager
async def _streams(port: int, count: int) -> AsyncIterator[int]:
    """How many of so many streams have begun within the patience."""
    writers: list[asyncio.StreamWriter] = []
    try:
        begun = 0
        for first in range(0, count, AT_ONCE):
            opened = [begins(port, writers, PATIENCE_S) for _ in range(first, min(first + AT_ONCE, count))]
            begun += sum(await asyncio.gather(*opened))
        yield begun
    finally:
        for writer in writers:
            writer.close()


@pytest.fixture
def environment(schema_database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    raise_file_limit()
    return {
        "SUPABASE_DB_URL": schema_database_url,
        "SUPABASE_JWT_SECRET": "a-secret-of-this-test-that-is-long-enough",
        "REDIS_URL": redis_url,
        "HUBSPOT_ACCESS_TOKEN": "pat-x",
        "HUBSPOT_BASE_URL": f"http://{LOOPBACK}:{free_port()}",
        "LASTSEAT_DATA_DIR": str(tmp_path),
    }


@pytest.mark.embedded
@pytest.mark.parametrize("kind", [Site, DefaultSite])
async def test_plain_reads_are_answered_beside_many_streams(kind: type[Site], environment, tmp_path: Path):
    site = kind(environment, log_path=tmp_path / "site.log", processes=1, port=None)
    try:
        await site.start()
        async with _streams(site.port, STREAMS) as begun:
            reply = await ask(site.port, "GET", AVAILABLE, patience_s=PATIENCE_S)
            with contextlib.closing(redis.Redis.from_url(environment["REDIS_URL"])) as client:
                listening = dict(client.pubsub_numsub(NEWS))
    finally:
        site.stop()
    if kind is Site:
        assert (begun, reply.status) == (STREAMS, 200)
        assert json.loads(reply.body)["success"]
        assert listening == {NEWS.encode(): 1}, "Redis is listened to once for a process, not once for a stream"
    else:
        assert (begun, reply.status) == (GRANIANS_DEFAULT, 0)


@pytest.mark.embedded
def test_too_few_files_for_the_streams_are_said_in_one_line(environment, tmp_path: Path):
    """The server starts all the same."""
    port = free_port()

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2_000, 2_000))

    with subprocess.Popen(
        [sys.executable, "-m", "lastseat", "serve", "--port", str(port)],
        env={**bare_environment(), **environment},
        preexec_fn=few,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        lines = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, child.stderr))
        child.terminate()
        assert child.wait(30) in (0, -signal.SIGTERM)  # it may not serve yet
    (said,) = [line for line in lines if "files" in line]
    assert "may open 2,000 files here; LASTSEAT_EVENTS_MOST=12000 needs 13,000" in said
    assert "Raise the limit" in said


def test_more_streams_than_places_are_refused_at_start():
    with pytest.raises(SetupError, match=r"LASTSEAT_EVENTS_MOST: .*below LASTSEAT_BACKPRESSURE=1024"):
        load(backpressure=GRANIANS_DEFAULT, events_most=GRANIANS_DEFAULT)
    assert load(backpressure=GRANIANS_DEFAULT, events_most=GRANIANS_DEFAULT - 1).events_most == GRANIANS_DEFAULT - 1
