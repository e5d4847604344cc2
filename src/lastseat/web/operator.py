"""What an operator's tools ask: alive, ready, metrics; names parts, never secrets."""

from typing import cast

from fastapi import FastAPI, Request, Response

from lastseat.web import answers
from lastseat.web.access import AccessLog
from lastseat.web.metrics import Metrics
from lastseat.web.problems import problem
from lastseat.web.student import services_of


def install(app: FastAPI) -> None:
    """Three addresses; `/metrics` says what one process counted."""
    app.add_api_route("/api/health", health, methods=["GET"])
    app.add_api_route("/api/ready", ready, methods=["GET"])
    app.add_api_route("/metrics", metrics, methods=["GET"])


async def health() -> Response:
    """200 while the process answers at all; asks no store."""
    return answers.encoded({"success": True, "status": "ok"})


async def ready(request: Request) -> Response:
    """200 when every needed part is well, else 503 naming those that are not."""
    parts = await services_of(request).ready()
    missing = sorted(name for name, part in parts.items() if _stops_us(part))
    if missing:
        text = f"Not ready: {', '.join(missing)}."
        return problem("UNAVAILABLE", text, details={"parts": parts}, headers={"retry-after": "1"})
    return answers.encoded({"success": True, "status": "ready", "parts": parts})


async def metrics(request: Request) -> Response:
    """Requests by route and status, and their time, in Prometheus' text."""
    counted: Metrics = request.app.state.metrics
    access: AccessLog = request.app.state.access
    access.flush()
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(counted.text(), headers={"cache-control": "no-store", "content-type": kind})


def _stops_us(part: object) -> bool:
    said = cast("dict[str, object]", part)
    return not said["ok"] and bool(said.get("needed", True))
