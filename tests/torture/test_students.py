"""The students are good clients: the same key until answered, and every request in the history."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from lastseat.rehearsal import students
from lastseat.rehearsal.history import Said
from lastseat.rehearsal.phone import Pen
from lastseat.rehearsal.seed import Session, Student
from lastseat.rehearsal.students import Client, Town

SECRET = "a-secret-of-the-demo-that-is-long-enough"
EXAMS = [Session(exam_id="501", properties={"mock_type": "Mini-mock", "location": "Online", "capacity": "2"})]
BOOKED = {"success": True, "booking": {"booking_id": "LS-1", "is_active": "Active", "contact_id": "7"}}
PENDING = {"success": True, "booking": {"booking_id": "LS-1", "is_active": "Pending", "contact_id": "7"}}
FULL = {"success": False, "code": "SESSION_FULL", "error": "Session is full"}
AWAY = {"success": False, "code": "UNAVAILABLE", "error": "away"}

Answer = tuple[int, dict[str, object]] | None
"""Status and body, or None: the connection is cut."""


class Desk:
    """A server that answers as told, one request after another, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str | None]] = []
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"Content-Length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                key = re.search(r"Idempotency-Key: (\S+)", head)
                self.asked.append((head.split(" HTTP")[0], key[1] if key else None))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    break
                body = json.dumps(answer[1]).encode()
                writer.write(f"HTTP/1.1 {answer[0]} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Client, about_s: float) -> None:
        await asyncio.sleep(0.001)

    monkeypatch.setattr(Client, "_pause", at_once)
    for chance in ("DOUBLE", "IMPATIENT", "REPEAT", "STAFF"):
        monkeypatch.setattr(students, chance, 0.0)


Play = Callable[[Client], "asyncio.Future[object]"]


async def heard(tmp_path: Path, desk: Desk, play) -> tuple[Client, list[Said]]:
    path = tmp_path / "history.jsonl"
    async with desk.open():
        pen = Pen(path)
        town = Town(ports=[desk.port], exams=EXAMS, secret=SECRET, seed=1, pen=pen)
        client = Client(town, Student(contact_id="7", properties={}))
        await play(client)
        client.hang_up()
        pen.close()
    return client, [msgspec.json.decode(line, type=Said) for line in path.read_bytes().splitlines()]


async def test_a_lost_connection_and_a_503_are_asked_again_with_the_same_key(tmp_path: Path, quick: None):
    desk = Desk(None, (503, AWAY), (201, BOOKED))
    client, said = await heard(tmp_path, desk, lambda client: client.book(EXAMS[0]))
    assert len({key for _, key in desk.asked}) == 1
    assert desk.asked[0][1] is not None
    assert [line.status for line in said] == [0, 503, 201]
    assert {line.key for line in said} == {desk.asked[0][1]}
    assert said[2].told == "LS-1"
    assert client.held == {"LS-1": "501"}


async def test_a_pending_booking_is_followed_until_it_ends(tmp_path: Path, quick: None):
    desk = Desk((202, PENDING), (200, PENDING), (200, BOOKED))
    client, said = await heard(tmp_path, desk, lambda client: client.book(EXAMS[0]))
    assert [request for request, _ in desk.asked[1:]] == ["GET /api/bookings/LS-1"] * 2
    assert [(line.deed, line.state) for line in said] == [
        ("book", "Pending"), ("status", "Pending"), ("status", "Active"),
    ]  # fmt: skip
    assert client.held == {"LS-1": "501"}


async def test_a_full_session_is_no_reason_to_ask_again(tmp_path: Path, quick: None):
    desk = Desk((409, FULL))
    client, said = await heard(tmp_path, desk, lambda client: client.book(EXAMS[0]))
    assert (len(said), client.held) == (1, {})


async def test_of_two_answers_to_a_double_click_the_seat_counts(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(students, "DOUBLE", 1.0)
    desk = Desk((409, FULL), (201, BOOKED))
    client, said = await heard(tmp_path, desk, lambda client: client.book(EXAMS[0]))
    assert {line.status for line in said} == {409, 201}
    assert client.held == {"LS-1": "501"}


async def test_a_pending_cancel_is_followed_until_the_seat_is_gone(tmp_path: Path, quick: None):
    gone = {"success": True, "booking": {"booking_id": "LS-1", "is_active": "Cancelled", "contact_id": "7"}}
    pending = {"success": True, "results": [{"bookingId": "LS-1", "status": "pending", "booking": BOOKED["booking"]}]}
    desk = Desk((201, BOOKED), (200, pending), (200, BOOKED), (200, gone))

    async def book_and_cancel(client: Client) -> None:
        await client.book(EXAMS[0])
        await client._cancel("LS-1")

    client, said = await heard(tmp_path, desk, book_and_cancel)
    assert [(line.deed, line.state) for line in said] == [
        ("book", "Active"), ("cancel", "pending"), ("status", "Active"), ("status", "Cancelled"),
    ]  # fmt: skip
    assert client.held == {}
