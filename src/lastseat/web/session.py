"""Puts a verified token into an HttpOnly cookie and takes it out again; makes tokens for the demo only."""

import time

from fastapi import FastAPI, Request, Response

from lastseat.errors import Refused
from lastseat.web import answers, roles
from lastseat.web.auth import COOKIE, Session, Tokens, need_same_origin, session_of
from lastseat.web.contract import SampleBody, SessionBody
from lastseat.web.fields import parse_body
from lastseat.web.services import SampleStudent
from lastseat.web.student import services_of

DEMO_SESSION_S = 8 * 3600.0
DEMO_STAFF = "demo-staff"


def install(app: FastAPI, *, demo: bool) -> None:
    """The demo's addresses do not exist outside demo mode."""
    app.add_api_route("/api/session", show, methods=["GET"])
    app.add_api_route("/api/session", sign_in, methods=["POST"])
    app.add_api_route("/api/session", sign_out, methods=["DELETE"])
    if demo:
        app.add_api_route("/api/demo/students", students, methods=["GET"])
        app.add_api_route("/api/demo/session", sign_in_as, methods=["POST"])


async def show(request: Request) -> Response:
    """Who is signed in, null for nobody and for a session that has ended; and what the page must know."""
    try:
        session = session_of(request)
    except Refused:
        session = None
    return _state(request, session)


async def sign_in(request: Request) -> Response:
    """Keep a token as the session cookie."""
    need_same_origin(request)
    body = await parse_body(request, SessionBody)
    return _signed_in(request, body.token)


async def sign_out(request: Request) -> Response:
    """Forget the session cookie."""
    need_same_origin(request)
    response = _state(request, None)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=_is_https(request))
    return response


async def students(request: Request) -> Response:
    """The sample students that a visitor of the demo may sign in as."""
    return answers.encoded({"success": True, "students": await _samples(request)})


async def sign_in_as(request: Request) -> Response:
    """Sign in as one of the sample students, or as staff that may do everything."""
    need_same_origin(request)
    body = await parse_body(request, SampleBody)
    tokens: Tokens = request.app.state.tokens
    if body.staff:
        token = tokens.sign(subject=DEMO_STAFF, ttl_s=DEMO_SESSION_S, permissions=roles.PERMISSIONS)
        return _signed_in(request, token)
    if not any(sample.contact_id == body.contact_id for sample in await _samples(request)):
        raise Refused("contact_id is not one of the sample students.", field="contact_id")
    token = tokens.sign(subject=f"demo-{body.contact_id}", ttl_s=DEMO_SESSION_S, contact_id=body.contact_id)
    return _signed_in(request, token)


async def _samples(request: Request) -> list[SampleStudent]:
    samples = services_of(request).samples
    return list(await samples()) if samples is not None else []


def _signed_in(request: Request, token: str) -> Response:
    tokens: Tokens = request.app.state.tokens
    session = tokens.verify(token)
    response = _state(request, session)
    response.set_cookie(
        COOKIE,
        token,
        max_age=max(0, int(session.expires_at - time.time())),
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )
    return response


def _state(request: Request, session: Session | None) -> Response:
    who = None
    if session is not None:
        identity = session.identity
        who = {
            "contact_id": identity.contact_id,
            "permissions": sorted(identity.permissions),
            "expires_at": int(session.expires_at),
        }
    settings = services_of(request).settings
    page: dict[str, object] = {
        "asks": settings.booking_fields,
        "timezone": settings.timezone,
        "demo": settings.demo,
        "lists": None,
    }
    if session is not None and session.identity.is_staff:
        page["lists"] = {"mock_types": settings.mock_types, "locations": settings.locations}
    return answers.encoded({"success": True, "session": who, **page})


def _is_https(request: Request) -> bool:
    """Believing a proxy's word here can only make the cookie stricter."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"
