"""Puts the web room together over the services that it is given; starts nothing itself and reads no environment."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lastseat.web import (
    admin,
    answers,
    aside,
    auth,
    events,
    listening,
    openapi,
    operator,
    pages,
    problems,
    session,
    staff_reads,
    student,
    sync,
    sync_desk,
)
from lastseat.web.access import AccessLog
from lastseat.web.answers import SharedBodies
from lastseat.web.edge import Direct, Edge
from lastseat.web.fanout import Fanout
from lastseat.web.hot_lane import HotLane
from lastseat.web.limits import Limits
from lastseat.web.metrics import Metrics
from lastseat.web.services import Services


class Site(FastAPI):
    """FastAPI, with our own OpenAPI document in place of the generated one, and short ways for what a crowd asks."""

    hot: HotLane | None = None
    crowded: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a crowd's GETs from the hot lane and its wishes below the framework; hand the rest on to FastAPI."""
        if scope["type"] == "http":
            answer = self.hot.answer(scope) if self.hot is not None else None
            if answer is not None:
                start, body = answer
                await send(start)
                await send(body)
                return
            if self.crowded is not None and (scope["method"], scope["path"]) in student.CROWDED:
                await self.crowded(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Every endpoint, also those that FastAPI does not see."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(demo=self.state.services.settings.demo)
        return self.openapi_schema


def create_app(services: Services) -> FastAPI:
    """The ASGI application; raise SetupError when tokens could not be verified."""
    demo = services.settings.demo
    tokens, metrics = auth.tokens_for(services.settings, services.keys), Metrics()
    access = AccessLog(metrics.observe)
    limits = Limits(services.settings, services.tally)

    fanout = Fanout(services.live, services.settings) if services.live is not None else None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as parts:
            for part in (services.lifespan(), access.running(), limits.running()):
                await parts.enter_async_context(part)
            await parts.enter_async_context(listening.letting_go(services.settings))
            if fanout is not None:
                await parts.enter_async_context(fanout.running())
            yield

    app = Site(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the edge counts and logs
    )
    app.state.services, app.state.tokens, app.state.metrics = services, tokens, metrics
    app.state.access = access
    app.state.shared, app.state.limits = SharedBodies(), limits
    if services.figures is not None:
        metrics.add(services.figures)
    if services.live is not None:
        app.hot = HotLane(services.live, access=access, limits=limits)
    if fanout is not None:
        events.install(app, fanout)
        metrics.add(fanout.lines)
        if services.news is not None:
            services.news(fanout.hear)
    student.install(app)
    admin.install(app)
    staff_reads.install(app)
    aside.install(app)
    sync.install(app)
    sync_desk.install(app)
    session.install(app, demo=demo)
    operator.install(app)
    pages.install(app, demo=demo)
    app.add_route("/openapi.json", _document, methods=["GET"])
    problems.install(app)
    paths: dict[object, str] = {route.endpoint: route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Edge, access=access, paths=paths)
    app.crowded = Edge(Direct(app, student.CROWDED), access=access, paths=paths)
    return app


async def _document(request: Request) -> Response:
    app: FastAPI = request.app
    return answers.encoded(app.openapi())
