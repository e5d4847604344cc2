"""Stands before PostgREST as Supabase's gateway does: checks the key, turns a secret key into the service role.

`/rest/v1/…` goes on to PostgREST without that prefix. A legacy key is a JWT and goes on as it came. A key of the new
kind (`sb_secret_…`, `sb_publishable_…`) is no JWT: the gateway puts the token of its role into `Authorization`. Run
as a program: `gateway.py PORT TARGET KEYS`, where KEYS is JSON {key: token to send on}.
"""

import json
import sys

from aiohttp import ClientSession, web

PREFIX = "/rest/v1"
INVALID = {"message": "Invalid API key", "hint": "Double check your Supabase `anon` or `service_role` API key."}
HOP = {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "apikey"}


def application(target: str, keys: dict[str, str]) -> web.Application:
    async def start(app: web.Application):
        async with ClientSession() as app[SESSION]:
            yield

    async def forward(request: web.Request) -> web.Response:
        key = request.headers.get("apikey", "")
        if key not in keys:
            return web.json_response(INVALID, status=401)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if bearer and bearer.count(".") != 2:
            return web.json_response({"message": "Invalid JWT"}, status=401)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        headers["Authorization"] = f"Bearer {bearer or keys[key]}"
        path = request.rel_url.raw_path.removeprefix(PREFIX)
        query = f"?{request.query_string}" if request.query_string else ""
        async with request.app[SESSION].request(
            request.method, f"{target}{path}{query}", headers=headers, data=await request.read()
        ) as reply:
            body = await reply.read()
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in HOP}
            return web.Response(body=body, status=reply.status, headers=kept)

    app = web.Application()
    app.cleanup_ctx.append(start)
    app.router.add_route("*", PREFIX + "/{path:.*}", forward)
    return app


SESSION = web.AppKey("session", ClientSession)

if __name__ == "__main__":
    port, target, keys = sys.argv[1:]
    web.run_app(application(target, json.loads(keys)), host="127.0.0.1", port=int(port), print=None)
