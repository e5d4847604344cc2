"""The errors everyone raises, in three kinds because a caller acts on the kind; never carries a secret.

LastseatError
├── Refused      nothing happened; do not retry as is
├── Unavailable  nothing happened; retry later
│   └── LeaseLost    another relay has taken over; stop
├── Uncertain    it may have happened; retry with the same key
└── SetupError   nothing can start; the operator must change something
"""

from typing import Literal

Code = Literal[
    "INVALID",
    "INVALID_SYNC_TYPE",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "EXAM_NOT_FOUND",
    "BOOKING_NOT_FOUND",
    "BOOKING_NOT_ACTIVE",
    "BOOKING_WITHOUT_CONTACT",
    "SESSION_FULL",
    "ALREADY_BOOKED",
    "EXAM_CLOSED",
    "KEY_REUSED",
    "REFUSED_BY_HUBSPOT",
    "CAPACITY_BELOW_SOLD",
    "NOT_RETRYABLE",
    "HAS_BOOKINGS",
    "TOO_LARGE",
    "TOO_MANY_REQUESTS",
    "UNAVAILABLE",
    "UNCERTAIN",
    "SETUP",
]


class LastseatError(Exception):
    """Anything this service raises on purpose: a sentence for people and a code for programs."""

    def __init__(self, message: str, *, code: Code) -> None:
        super().__init__(message)
        self.message = message
        self.code: Code = code


class Refused(LastseatError):
    """Nothing happened, and asking again in the same way will be refused again.

    `field` names the part of the request at fault, `details` carries numbers a client may show.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code = "INVALID",
        field: str | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.field = field
        self.details = details or {}


class Unavailable(LastseatError):
    """Nothing happened; the same request may succeed after `retry_after_s` seconds. `unsent`: it never left us."""

    def __init__(
        self, message: str, *, code: Code = "UNAVAILABLE", retry_after_s: float = 1.0, unsent: bool = False
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s
        self.unsent = unsent


class LeaseLost(Unavailable):
    """This relay's term is over: whatever it was about to write, its successor looks after."""


class Uncertain(LastseatError):
    """It may have happened: send the same request again, with the same key or ids."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="UNCERTAIN")


class SetupError(LastseatError):
    """The program cannot start as configured; shown to the operator as one line, cause then way out."""

    def __init__(self, message: str, *, way_out: str) -> None:
        super().__init__(f"{message} {way_out}", code="SETUP")
        self.way_out = way_out
