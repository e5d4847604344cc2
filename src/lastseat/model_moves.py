"""The words of moving a booking to another session; holds no behaviour."""

from typing import Literal

import msgspec

from lastseat.model import BookingId, ClaimAnswer, ClaimId, ExamId


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to move the booking `reference` to the session `exam_id`, under the new ids."""

    claim_id: ClaimId
    booking_id: BookingId
    reference: str
    exam_id: ExamId
    caller: str
    request_id: str
    key: str | None = None
    fingerprint: str = ""


class MoveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`answer` is that of a claim in the new session; `outbox_id` is the cancel of the old booking.

    `trouble`: the old booking is unknown, names no contact, no longer holds a seat that can be moved, or is in that
    session already.
    """

    answer: ClaimAnswer | None = None
    outbox_id: int | None = None
    trouble: Literal["not_found", "no_contact", "not_active", "same_exam"] | None = None
