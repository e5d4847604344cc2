"""Property definitions and the values they accept; never knows which record a value belongs to."""

import re
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from hubspot_emulator.clock import iso

Raw = str | int | float | bool | None
MAX_TEXT = 65_536
EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
DAY_MS = 86_400_000


class Option(msgspec.Struct, kw_only=True, rename="camel"):
    """One allowed value of an enumeration."""

    label: str
    value: str
    description: str = ""
    display_order: int = -1
    hidden: bool = False


class Property(msgspec.Struct, kw_only=True, rename="camel"):
    """The definition of one property of an object type."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group_name: str = ""
    description: str = ""
    options: list[Option] = []
    display_order: int = -1
    calculated: bool = False
    external_options: bool = False
    has_unique_value: bool = False
    hidden: bool = False
    form_field: bool = False
    hubspot_defined: bool = False
    read_only: bool = False
    archived: bool = False
    created_at: str = ""
    updated_at: str = ""

    def shown(self) -> dict[str, Any]:
        """The definition as the properties API answers it."""
        body: dict[str, Any] = msgspec.to_builtins(self)
        del body["readOnly"]
        for name in ("createdAt", "updatedAt"):
            if not body[name]:
                del body[name]
        body["modificationMetadata"] = {
            "archivable": not self.hubspot_defined,
            "readOnlyDefinition": self.hubspot_defined,
            "readOnlyValue": self.read_only,
        }
        return body


class ValueProblem(Exception):
    """A value that the property does not accept, with HubSpot's code for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def normalised(prop: Property, raw: Raw) -> str:
    """The value as HubSpot stores and answers it: always text, `""` where it is cleared."""
    text = _as_text(raw)
    if text == "":
        return text
    if len(text) > MAX_TEXT:
        raise ValueProblem("STRING_TOO_LONG", f"Value is longer than {MAX_TEXT} characters.")
    check = CHECKS.get(prop.type)
    if check is not None:
        return check(prop, text)
    if prop.name == "email" and prop.hubspot_defined:
        return _email(text)
    return text


def _as_text(raw: Raw) -> str:
    if isinstance(raw, str):
        return raw
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    return str(raw)


def _email(text: str) -> str:
    if not EMAIL.fullmatch(text):
        raise ValueProblem("INVALID_EMAIL", f"Email address {text} is invalid")
    return text.lower()


def _number(_: Property, text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number != number or number in (float("inf"), float("-inf")) or "_" in text:
        raise ValueProblem("INVALID_LONG", f"{text} was not a valid number.")
    return text.strip()


def _bool(_: Property, text: str) -> str:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise ValueProblem("INVALID_OPTION", f"{text} was not one of the allowed options: [true, false]")
    return lowered


def _enumeration(prop: Property, text: str) -> str:
    allowed = {option.value for option in prop.options}
    chosen = [part for part in text.split(";") if part] if prop.field_type == "checkbox" else [text]
    for one in chosen:
        if one not in allowed:
            words = ", ".join(sorted(allowed))
            raise ValueProblem("INVALID_OPTION", f"{one} was not one of the allowed options: [{words}]")
    return text


def _epoch_ms(text: str) -> int | None:
    digits = text[1:] if text[:1] == "-" else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None


def _date(_: Property, text: str) -> str:
    # HubSpot: `YYYY-MM-DD` or epoch ms at midnight UTC, anything else is an error.
    if len(text) == 10 and text[4] == "-" and text[7] == "-":
        try:
            date.fromisoformat(text)
        except ValueError:
            raise ValueProblem("INVALID_DATE", f"{text} was not a valid date.") from None
        return text
    at_ms = _epoch_ms(text)
    if at_ms is None:
        raise ValueProblem("INVALID_DATE", f"{text} was not a valid date.")
    moment = _moment("INVALID_DATE", "date", at_ms)
    if at_ms % DAY_MS:
        clock = moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
        raise ValueProblem("INVALID_DATE", f"{text} is at {clock} UTC, not midnight!")
    return moment.date().isoformat()


def _moment(code: str, kind: str, at_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueProblem(code, f"{at_ms} was not a valid {kind}.") from None


def _datetime(_: Property, text: str) -> str:
    at_ms = _epoch_ms(text)
    if at_ms is not None:
        return iso(_moment("INVALID_DATE", "datetime", at_ms).timestamp())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueProblem("INVALID_DATE", f"{text} was not a valid datetime.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return iso(moment.timestamp())


CHECKS = {
    "number": _number,
    "bool": _bool,
    "enumeration": _enumeration,
    "date": _date,
    "datetime": _datetime,
}
