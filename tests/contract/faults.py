"""A TCP proxy that loses requests and replies on order, for any protocol; it looks into no message."""

import asyncio
import contextlib
from typing import Literal, Self

Fault = Literal["lost request", "lost reply", "late reply", "bad gateway"]

BAD_GATEWAY = b"\r\n".join(
    (b"HTTP/1.1 502 Bad Gateway", b"Content-Type: text/html", b"Content-Length: 3", b"Connection: close", b"", b"502")
)


class FaultProxy:
    """Stands before a server of this machine. `end_of_reply`: what a reply must hold to count as one."""

    def __init__(self, port: int, *, end_of_reply: bytes = b"") -> None:
        self.port = 0
        self.seen: list[Fault] = []
        self._target = port
        self._end_of_reply = end_of_reply
        self._ordered: list[Fault] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def order(self, *faults: Fault) -> None:
        """The next requests meet these, one each; those after them pass."""
        self._ordered = list(faults)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._requests(reader, writer, upstream))
                    ways.create_task(self._replies(upstream_reader, writer, upstream))
        except* OSError:
            pass  # either end hung up, as ordered
        finally:
            for end in (writer, upstream):
                end.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65_536):
            if self._next() == "lost request":
                self._done()
                writer.transport.abort()
                upstream.transport.abort()
                return
            upstream.write(data)
            await upstream.drain()
        upstream.write_eof()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65_536):
            fault = self._next() if self._end_of_reply in data else None
            if fault is None:
                writer.write(data)
                await writer.drain()
                continue
            self._done()
            if fault == "late reply":
                await asyncio.sleep(60)
            if fault == "bad gateway":
                writer.write(BAD_GATEWAY)
                await writer.drain()
                writer.close()
            else:
                writer.transport.abort()
            upstream.transport.abort()
            return
        if not writer.is_closing():
            writer.write_eof()

    def _next(self) -> Fault | None:
        return self._ordered[0] if self._ordered else None

    def _done(self) -> None:
        self.seen.append(self._ordered.pop(0))
