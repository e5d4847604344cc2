"""The students' connections: all released at once, each hears its own answer, none waits for ever."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from lastseat.embedded.ports import free_port
from lastseat.errors import Unavailable
from lastseat.rehearsal.lines import Clock, answers, ask, hang_up, open_lines, parsed, release, request


class FakeSite:
    """Answers what it is told to; counts who asked."""

    def __init__(self) -> None:
        self.port = 0
        self.crowd = 0
        self.all_here = asyncio.Event()
        self.never = asyncio.Event()
        self.seen: list[tuple[str, str | None, str | None]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.seen.append((body, request.headers.get("Authorization"), request.headers.get("Idempotency-Key")))
        if len(self.seen) == self.crowd:
            self.all_here.set()
        if request.path == "/silent":
            await self.never.wait()
        if request.path == "/hang-up":
            assert request.transport is not None
            request.transport.close()
        if request.path == "/chunks":
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            for part in (b"one ", b"two ", b"three"):
                await response.write(part)
            return response
        await self.open.wait()
        return web.Response(status=201, text=f"heard {body}")


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    fake = FakeSite()
    runner = web.ServerRunner(web.Server(fake.serve), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.port = runner.addresses[0][1]
    yield fake
    fake.never.set()
    await runner.cleanup()


async def test_two_hundred_are_released_at_once_and_each_hears_its_own_answer(site: FakeSite):
    lines = await open_lines(site.port, 200, Clock())
    site.open.clear()
    site.crowd = 200
    futures = release(lines, [request("POST", "/x", port=site.port, body=b"%d" % n) for n in range(200)])
    await asyncio.wait_for(site.all_here.wait(), 5.0)
    assert not any(future.done() for future in futures)
    site.open.set()
    replies = await answers(lines, futures, 5.0)
    hang_up(lines)
    assert [reply.body for reply in replies] == [b"heard %d" % n for n in range(200)]
    assert {reply.status for reply in replies} == {201}
    assert max(reply.sent_at for reply in replies) - min(reply.sent_at for reply in replies) < 0.25
    assert all(reply.ms > 0 for reply in replies)


async def test_a_line_stays_warm_for_the_next_request(site: FakeSite):
    lines = await open_lines(site.port, 1, Clock())
    for n in range(3):
        reply = (await answers(lines, release(lines, [request("POST", "/x", port=site.port, body=b"%d" % n)]), 5.0))[
            0
        ]
        assert reply.body == b"heard %d" % n
    hang_up(lines)


async def test_token_and_key_travel_in_their_headers(site: FakeSite):
    lines = await open_lines(site.port, 1, Clock())
    sent = request("POST", "/x", port=site.port, token="abc", key="k-1", body=b"{}")
    await answers(lines, release(lines, [sent]), 5.0)
    hang_up(lines)
    assert site.seen == [("{}", "Bearer abc", "k-1")]


async def test_an_answer_that_does_not_come_is_status_0(site: FakeSite):
    lines = await open_lines(site.port, 2, Clock())
    sent = [request("GET", path, port=site.port) for path in ("/silent", "/x")]
    silent, heard = await answers(lines, release(lines, sent), 0.2)
    hang_up(lines)
    assert (silent.status, heard.status) == (0, 201)
    assert silent.error == "no answer within 0.2 s"


async def test_a_connection_that_breaks_is_status_0(site: FakeSite):
    assert (await ask(site.port, "GET", "/hang-up")).status == 0


async def test_an_answer_in_chunks_is_put_together(site: FakeSite):
    assert (await ask(site.port, "GET", "/chunks")).body == b"one two three"


async def test_nobody_listening_is_said_in_one_line():
    with pytest.raises(Unavailable, match="Cannot open 3 connections"):
        await open_lines(free_port(), 3, Clock())
    assert (await ask(free_port(), "GET", "/")).status == 0


@pytest.mark.parametrize("cut", range(0, 70, 7))
def test_an_answer_is_whole_only_when_all_of_it_is_there(cut: int):
    whole = b"HTTP/1.1 409 Conflict\r\ncontent-length: 4\r\nserver: x\r\n\r\nfull"
    assert parsed(bytearray(whole)) == (409, b"full")
    assert parsed(bytearray(whole[: min(cut, len(whole) - 1)])) is None


async def test_progress_is_told_while_they_wait(site: FakeSite):
    lines = await open_lines(site.port, 5, Clock())
    heard: list[int] = []
    await answers(lines, release(lines, [request("GET", "/x", port=site.port)] * 5), 5.0, heard.append)
    hang_up(lines)
    assert heard[-1] == 5
