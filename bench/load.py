"""Sends GETs over kept connections as fast as they are answered, and reads CPU times; never judges an answer."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from lastseat.rehearsal.lines import ask

WARM_S = 0.3
QUIET_S, QUIET_SHARE = 3.0, 0.02
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Count:
    """What all connections of one measurement did."""

    answers: int = 0
    others: int = 0
    stop: bool = False


class Line(asyncio.Protocol):
    """One connection: the next request leaves when the answer is whole. Answers have a Content-Length."""

    def __init__(self, request, count):
        self._request = request
        self._count = count
        self._head = b""
        self._missing = 0
        self._transport = None

    def connection_made(self, transport):
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data):
        if not self._missing:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._head[:end].lower()
            if not head.startswith(b"http/1.1 200"):
                self._count.others += 1
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0])
            self._missing = length + end + 4 - len(self._head)
            self._head = b""
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._missing = 0
            self._count.answers += 1
            if not self._count.stop:
                self._transport.write(self._request)

    def close(self):
        self._transport.close()


def get(path, token=None):
    """One request, ready to send."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


async def cpu_per_answer(port, requests, pids, *, seconds):
    """Microseconds of CPU of these processes and their children per answer, and answers per second.

    One connection per request in the list.
    """
    loop, count = asyncio.get_running_loop(), Count()
    lines = [
        (await loop.create_connection(lambda request=request: Line(request, count), "127.0.0.1", port))[1]
        for request in requests
    ]
    await asyncio.sleep(WARM_S)
    count.answers, cpu, began = 0, cpu_s(families(pids)), time.perf_counter()
    await asyncio.sleep(seconds)
    answers, cpu, took_s = count.answers, cpu_s(families(pids)) - cpu, time.perf_counter() - began
    count.stop = True
    await asyncio.sleep(0.1)
    for line in lines:
        line.close()
    assert count.others == 0, f"{count.others} answers were not 200"
    return {"us": cpu / answers * 1e6, "per_s": answers / took_s}


async def quiet(pids):
    """Wait until these processes have nothing left to do."""
    async with asyncio.timeout(60):
        while True:
            cpu = cpu_s(families(pids))
            await asyncio.sleep(QUIET_S)
            if cpu_s(families(pids)) - cpu <= QUIET_S * QUIET_SHARE:
                return


async def up(port, path):
    """Wait until it answers."""
    async with asyncio.timeout(30):
        while (await ask(port, "GET", path)).status != 200:  # noqa: ASYNC110  another process comes up
            await asyncio.sleep(0.05)


def family(pid):
    """A process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it ended meanwhile
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def families(pids):
    """The same of several."""
    return {one for pid in pids for one in family(pid)}


def cpu_s(pids):
    """User and system time of all threads of these processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_bytes(pids):
    """Memory in use."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")
