"""The PRD's forced sync, for staff with a bearer token; never by a cookie, since a GET changes the mirror here."""

from typing import Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from lastseat.errors import Refused, Unavailable
from lastseat.model import ExamId, Identity
from lastseat.web import answers, roles
from lastseat.web.auth import identity_of
from lastseat.web.fields import OptionalId, is_record_id
from lastseat.web.services import Synced, Syncer
from lastseat.web.student import services_of

ADDRESS: Final = "/api/admin/sync/force-supabase"
PERMISSION: Final = "exams.edit"
WRONG_TYPE: Final = "Invalid sync type. Use type=exams or type=bookings&examId=xxx"


class SyncQuery(BaseModel):
    """What to bring up to HubSpot; for the document, since a wrong type has the PRD's own answer."""

    type: Literal["exams", "bookings"]
    exam_id: OptionalId = Field(None, alias="examId")


def install(app: FastAPI) -> None:
    """GET and POST do the same: the PRD looks at no method."""
    app.add_api_route(ADDRESS, force, methods=["GET", "POST"])


async def force(request: Request) -> Response:
    """Bring exams, or one exam's bookings, up to HubSpot, and say how many."""
    identity = bearer_of(request)
    roles.need(identity, PERMISSION)
    return said(await _synced(request, syncer_of(request), identity.caller))


def bearer_of(request: Request) -> Identity:
    """Who asks, by the Authorization header alone: another site's page can make a browser send its cookie."""
    if "authorization" not in request.headers:
        raise Refused("Send a bearer token: this address takes no cookie.", code="UNAUTHENTICATED")
    return identity_of(request)


def syncer_of(request: Request) -> Syncer:
    """What does the work."""
    syncer = services_of(request).syncer
    if syncer is None:
        raise Unavailable("this process has no way to HubSpot")
    return syncer


def said(done: Synced) -> Response:
    """The PRD's answer."""
    counts = {"synced": done.synced, "archived": done.archived, "rejected": done.rejected}
    return answers.encoded({"success": True, "message": done.message, **counts})


async def _synced(request: Request, syncer: Syncer, caller: str) -> Synced:
    wanted, exam_id = request.query_params.get("type"), request.query_params.get("examId", "").strip()
    if wanted == "exams":
        return await syncer.exams(caller)
    if wanted == "bookings" and exam_id:
        if not is_record_id(exam_id):
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
        return await syncer.bookings(ExamId(exam_id), caller)
    raise Refused(WRONG_TYPE, code="INVALID_SYNC_TYPE", field="type")
