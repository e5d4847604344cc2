"""Says what an answer of HubSpot's that is no success means for an operator; never sends and never retries."""

import re
from typing import Final

import msgspec

from lastseat.errors import LastseatError, Refused, SetupError, Unavailable
from lastseat.stores.hubspot_answers import Answer, NoAnswer, WireError, error_of

_NOT_TAKEN = (408, 423, 429, 477)  # HubSpot: turned away unread; the same call may pass later.
_NO_TYPE = re.compile(r"infer object type", re.IGNORECASE)
_WORDS_MOST = 300  # Limit: one line for an operator, not HubSpot's whole dump.
_SIGN_IN_ADVICE: Final = "Set it to the access token of your private app or service key; it may have been rotated."


class _Scopes(msgspec.Struct, rename="camel"):
    required_granular_scopes: list[str] = []


class _Detail(msgspec.Struct):
    context: _Scopes = msgspec.field(default_factory=_Scopes)


def fault_of(answer: Answer | NoAnswer) -> LastseatError:
    """The error to raise; its code is FORBIDDEN for a missing scope, NOT_FOUND for what is not in the portal."""
    if isinstance(answer, NoAnswer):
        return Unavailable(answer.reason)
    error = error_of(answer.body)
    said = (error.message or error.category or f"HubSpot answered {answer.status}").rstrip(".")[:_WORDS_MOST]
    if answer.status in _NOT_TAKEN or answer.status >= 500 or answer.status < 300:
        return Unavailable(f"HubSpot: {said}.")
    if answer.status == 401:
        return SetupError("HubSpot does not accept HUBSPOT_ACCESS_TOKEN.", way_out=_SIGN_IN_ADVICE)
    if answer.status == 403:
        return Refused(f"HubSpot: {said}.", code="FORBIDDEN", details={"scopes": _scopes(error)})
    if answer.status == 404 or _NO_TYPE.search(said):
        return Refused(f"HubSpot: {said}.", code="NOT_FOUND")
    return Refused(f"HubSpot: {said}.")


def _scopes(error: WireError) -> list[str]:
    try:
        details = msgspec.json.decode(error.errors, type=list[_Detail])
    except msgspec.MsgspecError:
        return []
    return sorted({scope for detail in details for scope in detail.context.required_granular_scopes})
