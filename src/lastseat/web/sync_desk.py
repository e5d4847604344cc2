"""The sync for staff on our own pages: how it stands, and the forced sync; nothing is changed by a GET."""

from typing import Final

import msgspec
from fastapi import FastAPI, Request, Response

from lastseat.errors import Unavailable
from lastseat.model import ExamId
from lastseat.model_upkeep import SyncStatus
from lastseat.web import answers, roles, sync
from lastseat.web.auth import identity_of
from lastseat.web.fields import parse_body
from lastseat.web.staff_contract import SyncBody
from lastseat.web.student import services_of

ADDRESS: Final = "/api/admin/sync"
_UNKNOWN: Final = dict.fromkeys(SyncStatus.__struct_fields__)


def install(app: FastAPI) -> None:
    """Beside the PRD's address, which takes no cookie."""
    app.add_api_route(f"{ADDRESS}/status", status, methods=["GET"])
    app.add_api_route(f"{ADDRESS}/run", run, methods=["POST"])


async def status(request: Request) -> Response:
    """Supabase's part is null while it is away: what the parts say is what an operator needs then."""
    roles.need_staff(identity_of(request))
    services = services_of(request)
    if services.sync_status is None:
        raise Unavailable("this process has no ledger")
    try:
        told: dict[str, object] = msgspec.structs.asdict(await services.sync_status.look())
    except Unavailable:
        told = {**_UNKNOWN, "stale": True}
    return answers.encoded({"success": True, **told, "parts": await services.ready()})


async def run(request: Request) -> Response:
    """The PRD's forced sync; the session cookie will do, since another site's page cannot POST with it."""
    identity = identity_of(request)
    roles.need(identity, sync.PERMISSION)
    body = await parse_body(request, SyncBody)
    syncer = sync.syncer_of(request)
    if body.exam_id is None:
        return sync.said(await syncer.exams(identity.caller))
    return sync.said(await syncer.bookings(ExamId(body.exam_id), identity.caller))
