"""A TCP proxy that can cut its lines, refuse new ones, and lead elsewhere, always on the same port."""

import asyncio
import contextlib
import socket

LOOPBACK = "127.0.0.1"


class Proxy:
    """`async with Proxy(port) as proxy`: connect to `proxy.port`."""

    def __init__(self, target: int):
        self._target = target
        self._lines: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        # Bound and never listening: keeps the port ours while the proxy refuses.
        self._reserve = _bound(0)
        self.port: int = self._reserve.getsockname()[1]

    async def __aenter__(self) -> "Proxy":
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self._reserve.close()

    async def refuse(self) -> None:
        """Cut all lines; who connects is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    async def mend(self) -> None:
        """Take connections again."""
        if self._server is None:
            line = _bound(self.port)
            line.listen(100)
            self._server = await asyncio.start_server(self._serve, sock=line)

    def cut(self) -> None:
        """Cut the lines that there are."""
        for line in tuple(self._lines):
            line.transport.abort()

    def lead_to(self, target: int) -> None:
        """New lines go there; the old ones are cut."""
        self._target = target
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._lines |= both
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            self._lines -= both
            for line in both:
                line.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(65_536):
            sink.write(piece)
            await sink.drain()
    sink.transport.abort()


def _bound(port: int) -> socket.socket:
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    line.bind((LOOPBACK, port))
    line.setblocking(False)
    return line
