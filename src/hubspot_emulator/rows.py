"""Judges the rows of a write before anything is written; never writes."""

from collections.abc import Mapping
from typing import Any

import msgspec

from hubspot_emulator.context import Context
from hubspot_emulator.failures import ApiError, invalid
from hubspot_emulator.portal import ObjectType, Record
from hubspot_emulator.properties import Raw, ValueProblem, normalised


class Problem:
    """Why one row is refused, in HubSpot's words."""

    def __init__(
        self,
        message: str,
        *,
        category: str = "VALIDATION_ERROR",
        conflict: bool = False,
        errors: list[dict[str, Any]] | None = None,
        context: dict[str, list[str]] | None = None,
    ) -> None:
        self.message = message
        self.category = category
        self.conflict = conflict
        self.errors = errors
        self.context = context or {}

    def refusal(self) -> ApiError:
        """The 400 for the whole request."""
        return invalid(self.message, category=self.category, errors=self.errors, context=self.context)

    def row_error(self, trace_id: str | None) -> dict[str, Any]:
        """The entry of `errors[]` in a 207."""
        context = dict(self.context)
        if trace_id is not None:
            context["objectWriteTraceId"] = [trace_id]
        body: dict[str, Any] = {
            "status": "error",
            "category": self.category,
            "message": self.message,
            "context": context,
        }
        if self.errors:
            body["errors"] = self.errors
        return body


class Row:
    """One record as it will be written."""

    def __init__(
        self, record_id: str, values: dict[str, str], old: Record | None, trace_id: str | None = None
    ) -> None:
        self.record_id = record_id
        self.values = values
        self.old = old
        self.trace_id = trace_id


class Judge:
    """Checks row after row of one call, so that rows of the call also collide with each other."""

    def __init__(self, ctx: Context, kind: ObjectType) -> None:
        self.ctx = ctx
        self.kind = kind
        self._taken: dict[tuple[str, str], str] = {}

    def clean(self, raw: Mapping[str, Raw]) -> dict[str, str] | Problem:
        """The values as they would be stored, or all that is wrong with them."""
        values: dict[str, str] = {}
        wrong: list[tuple[str, str, str]] = []
        for name, value in raw.items():
            prop = self.kind.properties.get(name)
            if prop is None or prop.archived or name in self.ctx.gone:
                wrong.append((name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
            elif prop.read_only:
                text = f'"{name}" is a read only property; its value cannot be set.'
                wrong.append((name, "READ_ONLY_VALUE", text))
            else:
                try:
                    values[name] = normalised(prop, value)
                except ValueProblem as problem:
                    wrong.append((name, problem.code, problem.message))
        return self._invalid_values(wrong) if wrong else values

    def _invalid_values(self, wrong: list[tuple[str, str, str]]) -> Problem:
        listed = [
            {
                "isValid": False,
                "message": text,
                "error": code,
                "name": name,
                "localizedErrorMessage": text,
                "portalId": self.ctx.portal.id,
            }
            for name, code, text in wrong
        ]
        return Problem(
            f"Property values were not valid: {msgspec.json.encode(listed).decode()}",
            errors=[{"message": t, "code": c, "context": {"propertyName": [n]}} for n, c, t in wrong],
        )

    def conflict(self, record_id: str, values: dict[str, str]) -> Problem | None:
        """The unique value that another record, or an earlier row, already holds."""
        holds = self.ctx.switches.archived_holds_unique
        for name in self.kind.unique_names:
            value = values.get(name)
            if not value:
                continue
            holder = self._taken.get((name, value))
            if holder is None:
                found = self.kind.holder(name, value, archived_too=holds)
                holder = found.id if found else record_id
            if holder != record_id:
                return self._held(record_id, name, value, holder)
        return None

    def take(self, record_id: str, values: dict[str, str]) -> None:
        """Remembers the unique values of a good row."""
        for name in self.kind.unique_names:
            if values.get(name):
                self._taken[name, values[name]] = record_id

    def _held(self, record_id: str, name: str, value: str, holder: str) -> Problem:
        where = f"portalId={self.ctx.portal.id}, objectTypeId={self.kind.id}, propertyName={name}, value={value}"
        return Problem(
            f"Cannot set PropertyValueCoordinates{{{where}}} on {record_id}. {holder} already has that value.",
            conflict=True,
        )


def write(ctx: Context, kind: ObjectType, row: Row) -> Record:
    """Stores one judged row and answers the record as it is now."""
    values = row.values
    values[kind.modified_name] = ctx.now
    if row.old is None:
        values[kind.created_name] = ctx.now
        values["hs_object_id"] = row.record_id
    ctx.change(["put", kind.id, row.record_id, values])
    return kind.records[row.record_id]
