"""The requests of the staff endpoints as models that check what comes in; knows no list of places and no store."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Literal, NoReturn, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from lastseat.web.contract import LIMIT_MOST, PAGE_MOST, Day, other_names
from lastseat.web.fields import OptionalId, RecordId, Reference, Text

SEATS_MOST = 10_000  # Limit: the largest session one row's lock can sell in a rush, with room to spare.

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::00)?", re.ASCII)
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_STATES = {
    "active": "active",
    "true": "active",
    "yes": "active",
    "inactive": "inactive",
    "false": "inactive",
    "no": "inactive",
    "scheduled": "scheduled",
}

Value = TypeVar("Value")


def _refuse(what: str) -> NoReturn:
    raise PydanticCustomError("lastseat", "{what}", {"what": what})


def _filled(value: Value | None) -> Value:
    if value is None:
        _refuse("must not be empty")
    return value


def _clock(value: object) -> str:
    match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        _refuse("must be a time of day as HH:MM, from 00:00 to 23:59")
    return f"{int(match[1]):02}:{match[2]}"


def _seats(value: object) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _DIGITS.fullmatch(text) or not 1 <= int(text) <= SEATS_MOST:
        _refuse("must be a whole number from 1 to 10,000")
    return int(text)


def _state(value: object) -> str:
    word = str(value).lower() if isinstance(value, str | bool) else ""
    if word not in _STATES:
        _refuse("must be active, inactive or scheduled")
    return _STATES[word]


def _instant(value: object) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    _refuse("must be an instant with its offset, such as 2026-03-01T12:00:00-05:00")


FilledText = Annotated[Text, AfterValidator(_filled)]
FilledDay = Annotated[Day, AfterValidator(_filled)]
Clock = Annotated[str, BeforeValidator(_clock), WithJsonSchema({"type": "string", "examples": ["09:30"]})]
Seats = Annotated[
    int, BeforeValidator(_seats), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": SEATS_MOST})
]
State = Annotated[
    str,
    BeforeValidator(_state),
    WithJsonSchema({"type": "string", "enum": ["active", "inactive", "scheduled"]}),
]
Instant = Annotated[
    datetime | None, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]


def _names(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


_EXAM_ID = AliasChoices("examId", "exam_id", "mockExamId", "mock_exam_id")
_FORM = ConfigDict(extra="forbid", frozen=True, json_schema_extra=other_names)


class CreateExamBody(BaseModel):
    """A new exam. Names as in the PRD; `opens_at` is when booking opens, at once without it."""

    model_config = _FORM

    mock_exam_name: Text = Field(None, validation_alias=_names("mock_exam_name"))
    mock_type: FilledText = Field(validation_alias=_names("mock_type"))
    exam_date: FilledDay = Field(validation_alias=_names("exam_date"))
    start_time: Clock = Field(validation_alias=_names("start_time"))
    end_time: Clock = Field(validation_alias=_names("end_time"))
    location: FilledText = Field()
    capacity: Seats = Field()
    is_active: State = Field("active", validation_alias=_names("is_active"))
    opens_at: Instant = Field(None, validation_alias=_names("opens_at"))

    def fields(self) -> dict[str, object]:
        """The columns of the new exam."""
        return self.model_dump(exclude_none=True)


class UpdateExamBody(BaseModel):
    """What changes of an exam; what is not named stays. `null` clears the name and `opens_at`, nothing else.

    The defaults stand for "not named" and are never stored.
    """

    model_config = _FORM

    exam_id: RecordId = Field(validation_alias=_EXAM_ID)
    mock_exam_name: Text = Field(None, validation_alias=_names("mock_exam_name"))
    mock_type: FilledText = Field("", validation_alias=_names("mock_type"))
    exam_date: FilledDay = Field(date.min, validation_alias=_names("exam_date"))
    start_time: Clock = Field("", validation_alias=_names("start_time"))
    end_time: Clock = Field("", validation_alias=_names("end_time"))
    location: FilledText = Field("")
    capacity: Seats = Field(0)
    is_active: State = Field("", validation_alias=_names("is_active"))
    opens_at: Instant = Field(None, validation_alias=_names("opens_at"))

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.fields():
            what = "alone changes nothing: name at least one field"
            raise PydanticCustomError("lastseat", "{what}", {"what": what, "field": "examId"})
        return self

    def fields(self) -> dict[str, object]:
        """The columns that were named, and no default."""
        return self.model_dump(exclude_unset=True, exclude={"exam_id"})


class DeleteExamBody(BaseModel):
    """The exam to delete; its bookings are cancelled first only when that is asked for."""

    model_config = _FORM

    exam_id: RecordId = Field(validation_alias=_EXAM_ID)
    cancel_bookings: bool = Field(False, validation_alias=AliasChoices("cancelBookings", "cancel_bookings"))


class ActivateExamBody(BaseModel):
    """The exam to show and open, or with `active: false` to hide and close."""

    model_config = _FORM

    exam_id: RecordId = Field(validation_alias=_EXAM_ID)
    active: bool = True


class RestoreExamBody(BaseModel):
    """The deleted exam to bring back."""

    model_config = _FORM

    exam_id: RecordId = Field(validation_alias=_EXAM_ID)


class MoveBody(BaseModel):
    """The booking to move, and the exam to move it to."""

    model_config = _FORM

    booking_id: Reference = Field(validation_alias=AliasChoices("bookingId", "booking_id"))
    exam_id: RecordId = Field(validation_alias=_EXAM_ID)


class ExamsQuery(BaseModel):
    """Which page of all exams, or of one exam's bookings."""

    model_config = ConfigDict(frozen=True)

    page: int = Field(1, ge=1, le=PAGE_MOST)
    limit: int = Field(20, ge=1, le=LIMIT_MOST)


class AsideQuery(BaseModel):
    """Which page of the rows set aside."""

    model_config = ConfigDict(frozen=True)

    page: int = Field(1, ge=1, le=PAGE_MOST)
    limit: int = Field(20, ge=1, le=LIMIT_MOST)


class RetryBody(BaseModel):
    """The row to try again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outbox_id: int = Field(alias="outboxId", strict=True, ge=1, le=2**63 - 1)


class SyncBody(BaseModel):
    """What to bring up to HubSpot: all exams, or the bookings of one exam."""

    model_config = _FORM

    type: Literal["exams", "bookings"]
    exam_id: OptionalId = Field(None, validation_alias=_EXAM_ID)

    @model_validator(mode="after")
    def _exam_with_bookings(self) -> Self:
        if (self.type == "bookings") != (self.exam_id is not None):
            what = "is missing" if self.exam_id is None else "goes with the type bookings only"
            raise PydanticCustomError("lastseat", "{what}", {"what": what, "field": "examId"})
        return self
