"""What a running server writes holds no key, password or token beyond six characters, and no student's data."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lastseat.errors import LastseatError
from lastseat.rehearsal.lines import ask
from lastseat.rehearsal.portal import Portal
from lastseat.rehearsal.site import Site
from lastseat.rehearsal.tokens import staff_token, student_token
from lastseat.settings import Settings
from lastseat.wire import build
from tests.contract.words import EXAM, contact, exam

SHOWN_MOST = 6


def leaks(text: str, hidden: Iterable[str]) -> list[str]:
    """The secrets of which more than six characters in a row stand in the text."""
    return [
        secret
        for secret in hidden
        if any(secret[at : at + SHOWN_MOST + 1] in text for at in range(len(secret) - SHOWN_MOST))
    ]


def password_of(url: str) -> str:
    return urlsplit(url).password or ""


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    portal = Portal(tmp_path / "hubspot", limit=100, latency_ms=0)
    await portal.start()
    yield portal
    portal.stop()


async def test_a_real_server_in_good_and_bad_hours(url, redis_url, ledger, portal, tmp_path: Path, request):
    jwt_secret, hubspot_token = secrets.token_hex(32), f"pat-na1-{secrets.token_hex(16)}"
    person = {"firstname": "Siobhánwyn", "lastname": "Kowalczykowska", "email": "siobhanwyn.k@students.example"}
    await ledger.mirror(exams=[exam(capacity=5)], contacts=[contact("90000000017", **person)])
    site = Site(
        {
            "SUPABASE_DB_URL": url,
            "REDIS_URL": redis_url,
            "SUPABASE_JWT_SECRET": jwt_secret,
            "HUBSPOT_BASE_URL": portal.url,
            "HUBSPOT_ACCESS_TOKEN": hubspot_token,  # the emulator does not know it: HubSpot refuses everything
            "LASTSEAT_DEADLINE_S": "0.2",
        },
        log_path=tmp_path / "site.log",
        processes=1,
        port=None,
    )
    request.addfinalizer(site.stop)
    await site.start()
    mine, staff = student_token(jwt_secret, "90000000017"), staff_token(jwt_secret)
    forged = student_token("another secret of thirty-two letters", "90000000017")
    booking = b'{"examId": "501", "student_email": "siobhanwyn.k@students.example"}'
    for token, body in ((mine, booking), (staff, booking), (forged, booking), (mine, b'{"token": "' + mine.encode())):
        await ask(site.port, "POST", "/api/bookings/create", token=token, body=body)
    portal.stop()
    for path in (f"/api/bookings/list?token={mine}", "/api/bookings/list", f"/{mine}", "/api/ready", "/metrics"):
        await ask(site.port, "GET", path, token=mine)
    await asyncio.sleep(0.6)  # the access log is buffered for half a second
    site.stop()
    log = site.log()
    assert "/api/bookings/create" in log
    assert "relay" in log
    hidden = [jwt_secret, hubspot_token, password_of(url), password_of(redis_url)]
    tokens = [token.rpartition(".")[2] for token in (mine, staff, forged)]
    assert leaks(log, [*hidden, *tokens, *person.values(), "90000000017"]) == []


async def test_stores_that_refuse_us_are_named_without_their_secrets(url, caplog: pytest.LogCaptureFixture):
    """In one process and with every logger open to the last word."""
    caplog.set_level(logging.DEBUG)
    hidden = [f"hidden-{secrets.token_hex(12)}" for _ in range(4)]
    place, said = url.rpartition("@")[2], []
    for way in (
        {"supabase_db_url": f"postgresql://postgres:{hidden[0]}@{place}"},
        {"supabase_url": "http://127.0.0.1:9", "supabase_service_key": hidden[1]},
    ):
        settings = Settings(
            redis_url=f"redis://:{hidden[2]}@127.0.0.1:9/0",
            hubspot_base_url="http://127.0.0.1:9",
            hubspot_access_token=hidden[3],
            supabase_jwt_secret="s" * 32,
            store_timeout_s=1,
            lease_offer_s=0.05,
            **way,
        )
        services = build(settings)
        async with services.lifespan():
            said.append(str(await services.ready()))
            with pytest.raises(LastseatError) as caught:
                await services.exams.capacity(EXAM)
            said.append(repr(caught.value))
            await asyncio.sleep(0.1)
        said += [repr(settings), repr(services)]
    assert "relay" in caplog.text
    assert leaks(caplog.text + "".join(said), hidden) == []


def test_a_leak_would_be_seen():
    assert leaks("key: abcdefg", ["xxabcdefgxx"]) == ["xxabcdefgxx"]
    assert leaks("key: abcdef...", ["abcdefghij"]) == []
