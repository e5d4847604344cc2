"""The students' endpoints: exams to see, own bookings to see, make and cancel; decides nothing about seats."""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI, Request, Response

from lastseat.errors import Refused
from lastseat.model import (
    Booking,
    CancelAnswer,
    CancelRequest,
    Claim,
    ClaimRequest,
    ContactId,
    ExamId,
    Identity,
)
from lastseat.web import answers, roles
from lastseat.web.answers import SharedBodies
from lastseat.web.auth import identity_of
from lastseat.web.contract import CancelBody, CreateBody, ExamQuery, ListQuery
from lastseat.web.fields import idempotency_key, is_record_id, is_reference, parse_body, parse_query
from lastseat.web.limits import Limits
from lastseat.web.services import Services
from lastseat.writes.book import fingerprint, mint_ids

PENDING_TEXT = "Seat secured, confirming"


def install(app: FastAPI) -> None:
    """What a whole crowd asks for at once comes first and without FastAPI's per-request work."""
    app.add_route("/api/mock-exams/available", available, methods=["GET"])
    app.add_route("/api/bookings/create", create, methods=["POST"])
    app.add_route("/api/mock-exams/{exam_id}/capacity", capacity, methods=["GET"])
    app.add_route("/api/bookings/list", list_bookings, methods=["GET"])
    app.add_api_route("/api/bookings/batch-cancel", cancel, methods=["POST"])
    app.add_route("/api/bookings/{booking_id}", one_booking, methods=["GET"])


def services_of(request: Request) -> Services:
    """What stands behind this application."""
    services: Services = request.app.state.services
    return services


async def available(request: Request) -> Response:
    _admit_public(request)
    exams = services_of(request).exams
    if not request.scope["query_string"]:
        return _shared(request, await exams.available())
    query = parse_query(request, ExamQuery)
    body = await exams.available(
        mock_type=query.mock_type, location=query.location, date_from=query.date_from, date_to=query.date_to
    )
    return _shared(request, body)


async def capacity(request: Request) -> Response:
    _admit_public(request)
    exam_id: str = request.path_params["exam_id"]
    if not is_record_id(exam_id):
        raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
    return _shared(request, await services_of(request).exams.capacity(ExamId(exam_id)))


async def create(request: Request) -> Response:
    """Book one seat."""
    identity = identity_of(request)
    key = idempotency_key(request)
    body = await parse_body(request, CreateBody)
    asked = ContactId(body.contact_id) if body.contact_id is not None else None
    contact_id = roles.books_for(identity, asked)
    claim = await services_of(request).booker.book(_claim_request(request, identity, contact_id, body, key))
    return _booked(claim)


CROWDED: dict[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {("POST", "/api/bookings/create"): create}
"""What hundreds call in the same second, by method and path."""


async def list_bookings(request: Request) -> Response:
    """A student's own bookings; for staff anybody's, or everybody's without contactId."""
    query = parse_query(request, ListQuery)
    asked = ContactId(query.contact_id) if query.contact_id is not None else None
    contact_id = roles.reads_of(identity_of(request), asked)
    bookings = services_of(request).bookings
    if contact_id is None:
        body = await bookings.list_all(filter=query.filter, page=query.page, limit=query.limit)
    else:
        body = await bookings.list_for(contact_id, filter=query.filter, page=query.page, limit=query.limit)
    return answers.private(body)


async def one_booking(request: Request) -> Response:
    """One booking, by our id or HubSpot's. Somebody else's is answered like one that does not exist."""
    booking_id: str = request.path_params["booking_id"]
    owner = roles.owner_when_reading(identity_of(request))
    if not is_reference(booking_id):
        raise Refused("There is no such booking.", code="BOOKING_NOT_FOUND")
    return answers.private(await services_of(request).bookings.one(booking_id, owner=owner))


async def cancel(request: Request) -> Response:
    """Cancel up to 100 bookings; each has its own result, and cancelling twice is no error."""
    identity = identity_of(request)
    body = await parse_body(request, CancelBody)
    asked = ContactId(body.contact_id) if body.contact_id is not None else None
    owner = roles.owner_when_cancelling(identity, asked)
    references = body.references()
    request_id: str = request.state.request_id
    wishes = [
        CancelRequest(reference=reference, caller=identity.caller, request_id=request_id, owner=owner)
        for reference in references
    ]
    return _cancelled(references, await services_of(request).canceller.cancel(wishes))


def _admit_public(request: Request) -> None:
    limits: Limits = request.app.state.limits
    limits.admit_public(request.scope["client"])


def _shared(request: Request, body: bytes) -> Response:
    shared: SharedBodies = request.app.state.shared
    return shared.answer(request, body)


def _claim_request(
    request: Request, identity: Identity, contact_id: ContactId, body: CreateBody, key: str | None
) -> ClaimRequest:
    claim_id, booking_id = mint_ids()
    exam_id, properties = ExamId(body.exam_id), body.properties()
    return ClaimRequest(
        claim_id=claim_id,
        booking_id=booking_id,
        exam_id=exam_id,
        contact_id=contact_id,
        caller=identity.caller,
        request_id=request.state.request_id,
        properties=properties,
        key=key,
        fingerprint=fingerprint(exam_id, contact_id, properties),
    )


def _booked(claim: Claim) -> Response:
    """201 recorded, 202 the seat is held; a repeated key may also find its booking cancelled meanwhile (200)."""
    booking = claim.booking or Booking(
        booking_id=claim.booking_id, mock_exam_id=claim.exam_id, contact_id=claim.contact_id
    )
    location = f"/api/bookings/{claim.booking_id}"
    if claim.state == "booked":
        return answers.encoded({"success": True, "booking": booking}, 201, {"location": location})
    if claim.state == "open":
        pending = {"success": True, "status": "pending", "message": PENDING_TEXT, "booking": booking}
        return answers.encoded({**pending, "statusUrl": location}, 202, {"location": location})
    if claim.state == "cancelled":
        return answers.encoded({"success": True, "status": "cancelled", "booking": booking}, 200)
    reason = claim.reason or "no reason given"
    raise Refused(f"HubSpot refused this booking: {reason}. The seat was given back.", code="REFUSED_BY_HUBSPOT")


def _cancelled(references: Sequence[str], outcomes: Sequence[CancelAnswer]) -> Response:
    pairs = list(zip(references, outcomes, strict=True))
    results = [_cancel_result(reference, answer) for reference, answer in pairs]
    summary = {"total": len(pairs)}
    for name in ("cancelled", "pending", "already_cancelled", "closed", "not_found"):
        summary[name] = sum(answer.outcome == name for _, answer in pairs)
    return answers.encoded({"success": True, "results": results, "summary": summary})


_CANCEL_ERRORS = {
    "not_found": ("There is no such booking.", "BOOKING_NOT_FOUND"),
    "closed": ("This booking can no longer be cancelled.", "EXAM_CLOSED"),
}


def _cancel_result(reference: str, answer: CancelAnswer) -> dict[str, object]:
    result: dict[str, object] = {"bookingId": reference, "success": True, "status": answer.outcome}
    if answer.outcome in _CANCEL_ERRORS:
        error, code = _CANCEL_ERRORS[answer.outcome]
        return {**result, "success": False, "error": error, "code": code}
    if answer.booking is not None:
        result["booking"] = answer.booking
    return result
