"""The rules for single values that come from outside; normalises once, never repairs, never asks a store."""

import json
import re
from typing import Annotated, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from lastseat.errors import Refused
from lastseat.web import problems

# Limit: 200 characters, the longest text that a booking of the PRD carries is a name.
TEXT_MOST = 200
ID_DIGITS = 20
BODY_MOST = 64 * 1024

Model = TypeVar("Model", bound=BaseModel)

_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_RECORD_ID = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)


def is_record_id(value: str) -> bool:
    """True for an id as HubSpot gives them: digits only, at most 20."""
    return _RECORD_ID.fullmatch(value) is not None


def is_reference(value: str) -> bool:
    """True for what may be a booking's id, ours or HubSpot's; anything else names no booking."""
    return _REFERENCE.fullmatch(value) is not None


def idempotency_key(request: Request) -> str | None:
    """The header Idempotency-Key, or None."""
    key = request.headers.get("idempotency-key")
    if key is not None and _KEY.fullmatch(key) is None:
        raise Refused("Idempotency-Key takes 1 to 255 printable ASCII characters.", field="Idempotency-Key")
    return key


def _refuse(what: str) -> NoReturn:
    raise PydanticCustomError("lastseat", "{what}", {"what": what})


def _text(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        _refuse("must be text")
    if len(value) > TEXT_MOST:
        _refuse(f"is too long: at most {TEXT_MOST} characters")
    if _UNWANTED.search(value):
        _refuse("holds characters that are not text (control characters or broken Unicode)")
    return value.strip() or None


def _required_id(value: object) -> str:
    return _record_id(value) or _refuse("must not be empty")


def _record_id(value: object) -> str | None:
    # PRD clients send ids as numbers and as strings; from here on they are strings.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else _text(value)
    if text is not None and not is_record_id(text):
        _refuse(f"must be a HubSpot record id: digits only, at most {ID_DIGITS}")
    return text


def _reference(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else _text(value)
    if text is None or not is_reference(text):
        _refuse("must be a booking's id, such as LS-7K3M9QXW2D4F8HAB or HubSpot's record id")
    return text


def _hand(value: object) -> str | None:
    text = _text(value)
    if text is None:
        return None
    if text.lower() not in ("left", "right"):
        _refuse("must be left or right")
    return text.lower()


def _email(value: object) -> str | None:
    text = _text(value)
    if text is not None and not _EMAIL.fullmatch(text):
        _refuse("must be an email address")
    return text


_ID_SCHEMA = {"type": "string", "pattern": "^[1-9][0-9]{0,19}$", "examples": ["41230001"]}
_TEXT_SCHEMA = {"type": "string", "maxLength": TEXT_MOST}

RecordId = Annotated[str, BeforeValidator(_required_id), WithJsonSchema(_ID_SCHEMA)]
Text = Annotated[str | None, BeforeValidator(_text), WithJsonSchema(_TEXT_SCHEMA)]
OptionalId = Annotated[str | None, BeforeValidator(_record_id), WithJsonSchema(_ID_SCHEMA)]
Email = Annotated[str | None, BeforeValidator(_email), WithJsonSchema({**_TEXT_SCHEMA, "format": "email"})]
Hand = Annotated[str | None, BeforeValidator(_hand), WithJsonSchema({"type": "string", "enum": ["left", "right"]})]
Reference = Annotated[
    str,
    BeforeValidator(_reference),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}),
]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse_json(body: bytes) -> object:
    """Read JSON strictly: UTF-8, no NaN, no bottomless nesting; lone surrogates are left for the field's rule."""
    try:
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise Refused("The body is not valid JSON.", field="body") from error


def parse_query(request: Request, model: type[Model]) -> Model:
    """The query string as `model`; names that it does not know are read over."""
    return _checked(model, dict(request.query_params))


async def parse_body(request: Request, model: type[Model]) -> Model:
    """The request's body as `model`; Refused names the field at fault."""
    return _checked(model, parse_json(await request.body()))


def _checked(model: type[Model], raw: object) -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise problems.of_validation(error.errors(include_url=False)) from error
