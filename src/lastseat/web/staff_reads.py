"""The staff's reads of exams: all of them page by page, one, and who has a seat in it; changes nothing."""

from fastapi import FastAPI, Request, Response

from lastseat.errors import Refused
from lastseat.model import ExamId
from lastseat.web import answers, roles
from lastseat.web.auth import identity_of
from lastseat.web.fields import is_record_id, parse_query
from lastseat.web.services import StaffExamBodies
from lastseat.web.staff_contract import ExamsQuery
from lastseat.web.student import services_of

EXAMS = "/api/admin/mock-exams"


def install(app: FastAPI) -> None:
    """Three addresses; the names of the changes below the same path are found first."""
    app.add_route(EXAMS, all_exams, methods=["GET"])
    app.add_route(f"{EXAMS}/{{exam_id}}", one_exam, methods=["GET"])
    app.add_route(f"{EXAMS}/{{exam_id}}/bookings", bookings_of, methods=["GET"])


async def all_exams(request: Request) -> Response:
    """Every exam, the latest first; closed and deleted ones too."""
    roles.need_staff(identity_of(request))
    query = parse_query(request, ExamsQuery)
    return answers.private(await _exams(request).all_exams(page=query.page, limit=query.limit))


async def one_exam(request: Request) -> Response:
    """One exam, also a deleted one."""
    roles.need_staff(identity_of(request))
    return answers.private(await _exams(request).one(_exam_id(request)))


async def bookings_of(request: Request) -> Response:
    """Who has a seat in an exam or waits for one, by name."""
    roles.need_staff(identity_of(request))
    query = parse_query(request, ExamsQuery)
    bookings = services_of(request).bookings
    return answers.private(await bookings.of_exam(_exam_id(request), page=query.page, limit=query.limit))


def _exam_id(request: Request) -> ExamId:
    exam_id: str = request.path_params["exam_id"]
    if not is_record_id(exam_id):
        raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
    return ExamId(exam_id)


def _exams(request: Request) -> StaffExamBodies:
    return services_of(request).staff_exams
