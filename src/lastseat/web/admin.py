"""The staff's endpoints: make, change, open, close, delete and restore exams, move bookings; decides nothing."""

from uuid import UUID

from fastapi import FastAPI, Request, Response

from lastseat.errors import Refused
from lastseat.model import Booking, Change, ChangeKind, ChangeRequest, ExamId, Identity
from lastseat.model_moves import MoveRequest
from lastseat.web import answers, roles
from lastseat.web.auth import identity_of
from lastseat.web.fields import idempotency_key, parse_body, parse_query
from lastseat.web.staff_contract import (
    ActivateExamBody,
    CreateExamBody,
    DeleteExamBody,
    MoveBody,
    RestoreExamBody,
    UpdateExamBody,
)
from lastseat.web.student import services_of
from lastseat.writes.book import fingerprint, mint_ids
from lastseat.writes.exams import mint_change
from lastseat.writes.move import Moved

EXAMS = "/api/admin/mock-exams"
PENDING_TEXT = "Written down; HubSpot has not confirmed it yet"
MOVING_TEXT = "New seat secured, confirming; the old one is given back after that"


def install(app: FastAPI) -> None:
    """The PRD's four, and restore, the state of a change, and moving a booking."""
    app.add_api_route(f"{EXAMS}/create", create, methods=["POST"])
    app.add_api_route(f"{EXAMS}/update", update, methods=["PUT"])
    app.add_api_route(f"{EXAMS}/delete", delete, methods=["DELETE"])
    app.add_api_route(f"{EXAMS}/activate", activate, methods=["POST"])
    app.add_api_route(f"{EXAMS}/restore", restore, methods=["POST"])
    app.add_api_route(f"{EXAMS}/changes/{{change_id}}", one_change, methods=["GET"])
    app.add_api_route("/api/admin/bookings/move", move, methods=["POST"])


async def create(request: Request) -> Response:
    """A new exam, in HubSpot and here."""
    identity = _permitted(request, "exams.create")
    body = await parse_body(request, CreateExamBody)
    return await _changed(request, identity, "exam_create", fields=body.fields())


async def update(request: Request) -> Response:
    """Some fields of an exam. Opening and closing it takes the permission for that, here too."""
    identity = _permitted(request, "exams.edit")
    body = await parse_body(request, UpdateExamBody)
    fields = body.fields()
    if "is_active" in fields:
        roles.need(identity, "exams.activate")
    return await _changed(request, identity, "exam_update", exam_id=ExamId(body.exam_id), fields=fields)


async def delete(request: Request) -> Response:
    """Archive an exam. Some clients send no body with DELETE: then the query string says which."""
    identity = _permitted(request, "exams.delete")
    has_body = bool(await request.body())
    body = await parse_body(request, DeleteExamBody) if has_body else parse_query(request, DeleteExamBody)
    exam_id = ExamId(body.exam_id)
    return await _changed(request, identity, "exam_archive", exam_id=exam_id, cancel_bookings=body.cancel_bookings)


async def activate(request: Request) -> Response:
    """Open an exam, or close it."""
    identity = _permitted(request, "exams.activate")
    body = await parse_body(request, ActivateExamBody)
    fields: dict[str, object] = {"is_active": "active" if body.active else "inactive"}
    return await _changed(request, identity, "exam_update", exam_id=ExamId(body.exam_id), fields=fields)


async def restore(request: Request) -> Response:
    """Bring a deleted exam back; it has a new id from then on."""
    identity = _permitted(request, "exams.delete")
    body = await parse_body(request, RestoreExamBody)
    return await _changed(request, identity, "exam_restore", exam_id=ExamId(body.exam_id))


async def one_change(request: Request, change_id: str) -> Response:
    """How far a change is, for who may make one."""
    roles.need_any(identity_of(request), *sorted(p for p in roles.PERMISSIONS if p.startswith("exams.")))
    change = await services_of(request).changer.look(change_id) if _is_uuid(change_id) else None
    if change is None:
        raise Refused("There is no such change.", code="NOT_FOUND")
    shown = {name: getattr(change, name) for name in ("change_id", "kind", "status", "reason", "exam_id", "exam")}
    return answers.encoded({"success": True, "change": shown})


async def move(request: Request) -> Response:
    """Move a booking to another session: both seats change, or neither."""
    identity = _permitted(request, "bookings.create")
    roles.need(identity, "bookings.cancel")
    key = idempotency_key(request)
    body = await parse_body(request, MoveBody)
    claim_id, booking_id = mint_ids()
    wish = MoveRequest(
        claim_id=claim_id,
        booking_id=booking_id,
        reference=body.booking_id,
        exam_id=ExamId(body.exam_id),
        caller=identity.caller,
        request_id=request.state.request_id,
        key=key,
        fingerprint=fingerprint("move", body.booking_id, body.exam_id),
    )
    return _moved(body.booking_id, await services_of(request).mover.move(wish))


def _permitted(request: Request, permission: str) -> Identity:
    identity = identity_of(request)
    roles.need(identity, permission)
    return identity


async def _changed(
    request: Request,
    identity: Identity,
    kind: ChangeKind,
    *,
    exam_id: ExamId | None = None,
    fields: dict[str, object] | None = None,
    cancel_bookings: bool = False,
) -> Response:
    change_id, exam_key = mint_change(identity.caller, idempotency_key(request))
    makes = kind in ("exam_create", "exam_restore")
    wish = ChangeRequest(
        change_id=change_id,
        kind=kind,
        caller=identity.caller,
        request_id=request.state.request_id,
        exam_id=exam_id,
        exam_key=exam_key if makes else None,
        fields=fields or {},
        cancel_bookings=cancel_bookings,
    )
    change = await services_of(request).changer.change(wish)
    return _answer(change, 201 if makes else 200)


def _answer(change: Change, status: int) -> Response:
    """201 made, 200 done, 202 written down; what tightens binds in any case."""
    if change.status == "pending":
        address = f"{EXAMS}/changes/{change.change_id}"
        pending = {"success": True, "status": "pending", "message": PENDING_TEXT, "exam": change.exam}
        return answers.encoded({**pending, "statusUrl": address}, 202, {"location": address})
    return answers.encoded({"success": True, "exam": change.exam}, status)


def _moved(reference: str, moved: Moved) -> Response:
    claim = moved.claim
    booking = claim.booking or Booking(
        booking_id=claim.booking_id, mock_exam_id=claim.exam_id, contact_id=claim.contact_id
    )
    location = f"/api/bookings/{claim.booking_id}"
    told = {"success": True, "booking": booking, "previous": {"bookingId": reference, "status": moved.previous}}
    match claim.state:
        case "booked":
            return answers.encoded(told, 201, {"location": location})
        case "open":
            pending = {"status": "pending", "message": MOVING_TEXT, "statusUrl": location}
            return answers.encoded({**told, **pending}, 202, {"location": location})
        case "cancelled":
            return answers.encoded({**told, "status": "cancelled"}, 200)
        case "refused":
            reason = claim.reason or "no reason given"
            text = f"HubSpot refused this booking: {reason}. The old one stays."
            raise Refused(text, code="REFUSED_BY_HUBSPOT")


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
