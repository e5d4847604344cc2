"""A server that answers as PostgREST would, in a thread of its own: as told, or from a real Postgres behind it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from aiohttp import web

PREFIX = "/rest/v1/rpc/"
UNKNOWN_KEY = {"message": "Invalid API key", "hint": "Double check your Supabase `anon` or `service_role` API key."}


class RestStub:
    """`refusal`: what everybody is told instead. Only `key` is known. `database_url`: where the functions are."""

    def __init__(self, key: str, database_url: str = "") -> None:
        self.key = key
        self.url = ""
        self.asked: list[str] = []
        self.refusal: tuple[int, object] | None = None
        self._database_url = database_url

    async def answer(self, request: web.Request) -> web.Response:
        function = request.path.removeprefix(PREFIX)
        self.asked.append(function)
        if request.headers.get("apikey") != self.key:
            return web.json_response(UNKNOWN_KEY, status=401)
        if self.refusal is not None:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        args = (await request.text()).removeprefix('{"args":').removesuffix("}")
        connection = await asyncpg.connect(self._database_url)
        try:
            found = await connection.fetchval(f"select lastseat_api.{function}($1::jsonb)::text", args)
        except asyncpg.PostgresError as problem:
            return web.json_response({"code": problem.sqlstate, "message": str(problem)}, status=404)
        finally:
            await connection.close()
        return web.Response(text=found, content_type="application/json")


@contextmanager
def rest_stub(key: str, database_url: str = "") -> Iterator[RestStub]:
    stub = RestStub(key, database_url)
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_post(PREFIX + "{function}", stub.answer)
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    try:
        yield stub
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
