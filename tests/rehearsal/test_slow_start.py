"""A part that is too slow is said in one line with its log, and is stopped; never a traceback."""

from pathlib import Path

import pytest

from lastseat.embedded.process import spawn_child
from lastseat.errors import SetupError
from lastseat.rehearsal import portal, postgrest, site
from tests.embedded.attack import lives


async def test_a_site_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "START_S", 0.05)
    log = tmp_path / "site.log"
    slow = site.Site({}, log_path=log, processes=1, port=None)
    monkeypatch.setattr(slow, "_spawn", lambda: spawn_child(["/bin/sleep", "60"], log_path=log))
    with pytest.raises(SetupError, match=rf"^The site did not answer within 0\.05 s\. Its log is {log}\.$"):
        await slow.start()
    pid = slow.pid
    slow.stop()
    assert not lives(pid)


async def test_an_emulator_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(portal, "START_S", 0.0)
    slow = portal.Portal(tmp_path, limit=1, latency_ms=0)
    with pytest.raises(SetupError, match=rf"did not start within 0 s\. Its log is {tmp_path}/emulator\.log\.$"):
        await slow.start()
    slow.stop()


async def test_a_postgrest_that_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgrest, "START_S", 0.05)
    child = spawn_child(["/bin/sleep", "60"], log_path=tmp_path / "log")
    with pytest.raises(SetupError, match=rf"PostgREST did not start within 0\.05 s\. Its log is {tmp_path}/log\.$"):
        await postgrest._ready(child, 9)
    child.kill()
