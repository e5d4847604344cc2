"""What HubSpot refused for itself, for staff to see and to try again; decides nothing about seats."""

import math
from typing import Final

from fastapi import FastAPI, Request, Response

from lastseat.errors import Unavailable
from lastseat.web import answers, roles
from lastseat.web.auth import identity_of
from lastseat.web.fields import parse_body, parse_query
from lastseat.web.services import SecondTries
from lastseat.web.staff_contract import AsideQuery, RetryBody
from lastseat.web.student import services_of

ADDRESS: Final = "/api/admin/set-aside"
PERMISSION: Final = "bookings.create"


def install(app: FastAPI) -> None:
    """The list, and one row tried again."""
    app.add_api_route(ADDRESS, rows, methods=["GET"])
    app.add_api_route(f"{ADDRESS}/retry", retry, methods=["POST"])


async def rows(request: Request) -> Response:
    """Rows set aside, newest first, each with HubSpot's words."""
    roles.need_any(identity_of(request), PERMISSION, "bookings.view")
    query = parse_query(request, AsideQuery)
    page = await _tries(request).list(page=query.page, limit=query.limit)
    pages = math.ceil(page.total / query.limit)
    pagination = {"page": query.page, "limit": query.limit, "total": page.total, "pages": pages}
    return answers.encoded({"success": True, "rows": page.rows, "pagination": pagination})


async def retry(request: Request) -> Response:
    """Queue one again; a booking whose seat was given back needs a free seat."""
    identity = identity_of(request)
    roles.need(identity, PERMISSION)
    body = await parse_body(request, RetryBody)
    done = await _tries(request).retry(body.outbox_id, caller=identity.caller, request_id=request.state.request_id)
    told = {"success": True, "status": done.outcome, "row": done.row}
    return answers.encoded(told, 202 if done.outcome == "queued" else 200)


def _tries(request: Request) -> SecondTries:
    tries = services_of(request).second_try
    if tries is None:
        raise Unavailable("this process has no ledger")
    return tries
