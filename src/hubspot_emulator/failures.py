"""Every refusal HubSpot is known to give, with its status and body; never decides when to give one."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

SCOPES_PAGE = "https://developers.hubspot.com/scopes"


class ApiError(Exception):
    """An answer that is not 2xx, as HubSpot words it."""

    def __init__(
        self,
        status: int,
        message: str,
        category: str | None = "VALIDATION_ERROR",
        *,
        errors: Sequence[Mapping[str, Any]] | None = None,
        context: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.category = category
        self.errors = errors
        self.context = context
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        body: dict[str, Any] = {
            "status": "error",
            "message": self.message,
            "correlationId": str(uuid.uuid4()),
        }
        if self.category:
            body["category"] = self.category
        if self.context:
            body["context"] = self.context
        if self.errors:
            body["errors"] = self.errors
        return body | self.extra


def terse(body: Mapping[str, Any]) -> dict[str, Any]:
    """HubSpot: every error field is optional, so a client must do with the message alone."""
    return {"message": body["message"]}


def html(status: int) -> bytes:
    """What a proxy in front of HubSpot answers for a 5xx."""
    return f"<html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>".encode()


def invalid(
    message: str,
    category: str = "VALIDATION_ERROR",
    *,
    errors: Sequence[Mapping[str, Any]] | None = None,
    context: Mapping[str, Sequence[str]] | None = None,
) -> ApiError:
    """400 for a request that HubSpot refuses as it is."""
    return ApiError(400, message, category, errors=errors, context=context)


def bad_json(detail: str) -> ApiError:
    """400 for a body that is not the expected JSON."""
    return invalid(f"Invalid input JSON on line 1, column 1: {detail}")


def unknown_type(name: str) -> ApiError:
    """400 for an object type that HubSpot cannot infer, a custom object's bare name among them."""
    return invalid(f"Unable to infer object type from: {name}")


def missing(what: str = "resource not found") -> ApiError:
    """404 for one record, property or schema that is not there."""
    return ApiError(404, what, "OBJECT_NOT_FOUND")


def unauthenticated(sent_any: bool) -> ApiError:
    """401, with one text for no token and another for a wrong one."""
    text = (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication."
        if not sent_any
        else "The access token you provided is not valid. Create a new one in your HubSpot account."
    )
    return ApiError(401, text, "INVALID_AUTHENTICATION")


def missing_scopes(scopes: Sequence[str]) -> ApiError:
    """403 that names the scopes the token lacks."""
    detail = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": list(scopes)},
    }
    text = "This app hasn't been granted all required scopes to make this call. "
    return ApiError(
        403,
        text + f"Read more about required scopes here: {SCOPES_PAGE}.",
        "MISSING_SCOPES",
        errors=[detail],
        extra={"links": {"scopes": SCOPES_PAGE}},
    )


POLICY_WORDS = {
    "TEN_SECONDLY_ROLLING": "ten_secondly_rolling",
    "SECONDLY": "secondly",
    "DAILY": "daily",
}


def rate_limited(policy: str, headers: Mapping[str, str]) -> ApiError:
    """429 of one of the three policies; this body has no category."""
    return ApiError(
        429,
        f"You have reached your {POLICY_WORDS[policy]} limit.",
        None,
        headers=headers,
        extra={"errorType": "RATE_LIMIT", "policyName": policy},
    )


STATUS_TEXTS = {
    423: ("The account is temporarily locked. Please wait at least 2 seconds and retry.", "LOCKED"),
    477: ("This account is being moved to another data center. Please retry later.", "MIGRATION_IN_PROGRESS"),
    500: ("internal error", "INTERNAL_ERROR"),
    502: ("Bad gateway", None),
    503: ("Service temporarily unavailable", "SERVICE_UNAVAILABLE"),
    504: ("Gateway timeout", None),
    521: ("Web server is down", None),
    523: ("Origin is unreachable", None),
    524: ("A timeout occurred", None),
}


def outage(status: int, retry_after_s: int | None = None) -> ApiError:
    """One of the answers that say nothing about the request itself."""
    text, category = STATUS_TEXTS[status]
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return ApiError(status, text, category, headers=headers)
