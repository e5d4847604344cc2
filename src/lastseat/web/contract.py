"""The requests of the HTTP contract as models that check what comes in; knows no store and no permission."""

import re
from datetime import date
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from lastseat.web.fields import Email, Hand, OptionalId, RecordId, Reference, Text

# Limit: 100 bookings a call, as many as one HubSpot batch takes.
CANCEL_MOST = 100
# Limit: so that an offset stays a 4-byte number.
PAGE_MOST = 1_000_000
LIMIT_MOST = 100

Filter = Literal["all", "upcoming", "past", "pending", "cancelled", "refused"]

# What the PRD's clients send along and the exam or this service decides: read over, never stored.
_SNAKE = (
    "exam_date",
    "mock_type",
    "mock_exam_name",
    "start_time",
    "end_time",
    "booking_id",
    "booking_status",
    "is_active",
)
READ_OVER = frozenset({*_SNAKE, *map(to_camel, _SNAKE), "location", "attendance"})

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _date(value: object) -> object:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise PydanticCustomError("lastseat", "must be a date as YYYY-MM-DD")


Day = Annotated[date | None, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]


def other_names(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """OpenAPI: name each spelling that is taken, not only the first."""
    for field in model.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            first, *others = (str(name) for name in field.validation_alias.choices)
            for other in others:
                schema["properties"][other] = {"description": f"The same as {first}."}


class CreateBody(BaseModel):
    """A wish for one seat. Names as in the PRD (`dominantHand`) or as columns (`dominant_hand`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=other_names)

    exam_id: RecordId = Field(validation_alias=AliasChoices("examId", "exam_id", "mockExamId", "mock_exam_id"))
    contact_id: OptionalId = Field(None, validation_alias=AliasChoices("contactId", "contact_id"))
    dominant_hand: Hand = Field(None, validation_alias=AliasChoices("dominant_hand", "dominantHand"))
    attending_location: Text = Field(None, validation_alias=AliasChoices("attending_location", "attendingLocation"))
    student_id: Text = Field(None, validation_alias=AliasChoices("student_id", "studentId"))
    student_name: Text = Field(None, validation_alias=AliasChoices("student_name", "studentName", "name"))
    student_email: Email = Field(None, validation_alias=AliasChoices("student_email", "studentEmail", "email"))

    @model_validator(mode="before")
    @classmethod
    def _read_over(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        return {name: value for name, value in cast("dict[str, object]", raw).items() if name not in READ_OVER}

    def properties(self) -> dict[str, str]:
        """What the student said, by HubSpot property name; what was not said is absent, never empty."""
        said = self.model_dump(exclude={"exam_id", "contact_id"}, exclude_none=True)
        return {name: str(value) for name, value in said.items()}


class CancelBody(BaseModel):
    """Bookings to cancel: `bookingIds`, or the PRD's single `bookingId`; `examId` is read over."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=other_names)

    booking_ids: list[Reference] | None = Field(
        None,
        validation_alias=AliasChoices("bookingIds", "booking_ids"),
        min_length=1,
        max_length=CANCEL_MOST,
    )
    booking_id: Reference | None = Field(None, validation_alias=AliasChoices("bookingId", "booking_id"))
    contact_id: OptionalId = Field(None, validation_alias=AliasChoices("contactId", "contact_id"))
    exam_id: OptionalId = Field(None, validation_alias=AliasChoices("examId", "exam_id"))

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.booking_ids is None) == (self.booking_id is None):
            what = "or bookingId must be given, one of the two"
            raise PydanticCustomError("lastseat", "{what}", {"what": what, "field": "bookingIds"})
        return self

    def references(self) -> list[str]:
        """Each booking once, in the order asked."""
        return list(dict.fromkeys(self.booking_ids or [cast("str", self.booking_id)]))


class ExamQuery(BaseModel):
    """Which sessions to list; days are the school's, both included."""

    model_config = ConfigDict(frozen=True)

    mock_type: Text = None
    location: Text = None
    date_from: Day = Field(None, alias="from")
    date_to: Day = Field(None, alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.date_from and self.date_to and self.date_from > self.date_to:
            what = f"must not be after to: {self.date_from} is after {self.date_to}"
            raise PydanticCustomError("lastseat", "{what}", {"what": what, "field": "from"})
        return self


class ListQuery(BaseModel):
    """Which bookings to list, and which page of them."""

    model_config = ConfigDict(frozen=True)

    contact_id: OptionalId = Field(None, alias="contactId")
    filter: Filter = "all"
    page: int = Field(1, ge=1, le=PAGE_MOST)
    limit: int = Field(20, ge=1, le=LIMIT_MOST)


class SessionBody(BaseModel):
    """A token to keep as the session cookie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[str, StringConstraints(min_length=1, max_length=3800)]


class SampleBody(BaseModel):
    """The sample student to sign in as, or `staff: true`; demo mode only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contact_id: OptionalId = Field(None, validation_alias=AliasChoices("contact_id", "contactId"))
    staff: bool = Field(False, strict=True)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.contact_id is None) != self.staff:
            what = "or staff must be given, one of the two"
            raise PydanticCustomError("lastseat", "{what}", {"what": what, "field": "contact_id"})
        return self
