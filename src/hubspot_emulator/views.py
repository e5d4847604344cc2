"""What a portal holds, seen whole: state, overview, snapshot; never changes it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from hubspot_emulator.calls import Landed
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.portal import Event, ObjectType, Portal, Record

SECONDS_SHOWN = 60


def kept_events(portal: Portal, keep: set[str]) -> Iterable[Event]:
    """The events of a portal with its definitions and only the records of the kept types."""
    for event in portal.as_events():
        if event[0] in ("put", "archive", "merge") and event[1] not in keep:
            continue
        if event[0] == "link" and not {event[1], event[3]} <= keep:
            continue
        yield event


def save_snapshot(portal: Portal, path: Path, at: float) -> None:
    """Writes everything a portal holds into one file, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(msgspec.json.encode(Landed(at=at, ev=list(portal.as_events()))) + b"\n")
    fresh.replace(path)


def state(portal: Portal, only: str | None = None) -> dict[str, Any]:
    """Every record by object type id, archived ones too, each with its associations."""
    kinds = [kind for kind in portal.types.values() if only in (None, kind.id, kind.name, kind.full_name)]
    return {
        "portal_id": portal.id,
        "names": {kind.id: kind.name for kind in portal.types.values()},
        "objects": {kind.id: [_record(portal, kind, record) for record in kind.from_id(0)] for kind in kinds},
    }


def _record(portal: Portal, kind: ObjectType, record: Record) -> dict[str, Any]:
    ends = portal.links.get((kind.id, record.id), {})
    return {
        "id": record.id,
        "properties": record.properties,
        "createdAt": record.properties[kind.created_name],
        "updatedAt": record.properties[kind.modified_name],
        "archived": record.archived_at is not None,
        "archivedAt": record.archived_at,
        "mergedInto": kind.merged.get(record.id),
        "associations": {
            other: [{"id": other_id, "typeIds": sorted(ids)} for other_id, ids in found.items()]
            for other, found in ends.items()
            if found
        },
    }


def overview(emulator: Emulator) -> dict[str, Any]:
    """Numbers for the page: records, calls of the last minute, what is left of the budget."""
    now = emulator.clock.now()
    per_s: Counter[int] = Counter()
    statuses: Counter[str] = Counter()
    for call in reversed(emulator.store.calls):
        age_s = int(now - call.arrived_at)
        if age_s > SECONDS_SHOWN + 30:
            break  # lines are in the order of answers: a slow call may stand a little later
        if age_s < SECONDS_SHOWN:
            per_s[age_s] += 1
            statuses[str(call.status or "dropped")] += 1
    kinds = emulator.store.portal.types.values()
    return {
        "portal_id": emulator.store.portal.id,
        "records": [_count(kind) for kind in kinds if not kind.archived],
        "calls_per_s": [per_s[age_s] for age_s in range(SECONDS_SHOWN - 1, -1, -1)],
        "statuses": statuses,
        "in_flight": emulator.in_flight,
        "total_calls": emulator.store.last_seq,
        "budget": {app: _left(emulator, app, now) for app in emulator.budget.apps},
        "faults": emulator.faults.shown(),
    }


def _count(kind: ObjectType) -> dict[str, Any]:
    archived = sum(record.archived_at is not None for record in kind.records.values())
    return {
        "type": kind.id,
        "name": kind.name,
        "live": len(kind.records) - archived,
        "archived": archived,
    }


def _left(emulator: Emulator, app: str, now: float) -> dict[str, int]:
    headers = emulator.budget.headers(app, now)
    return {
        "max": int(headers["X-HubSpot-RateLimit-Max"]),
        "remaining": int(headers["X-HubSpot-RateLimit-Remaining"]),
        "daily_remaining": int(headers["X-HubSpot-RateLimit-Daily-Remaining"]),
    }
