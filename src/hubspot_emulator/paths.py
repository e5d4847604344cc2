"""The table of paths, v3/v4 and dated; never looks into a body."""

from typing import NamedTuple
from urllib.parse import unquote

from hubspot_emulator.failures import ApiError

# Dated versions; the newest is the current one, HubSpot's own async client still asks for the older.
DATED = ("2026-03", "2026-09")


class Route(NamedTuple):
    """One operation of the API and where it lives inside its area."""

    area: str
    method: str
    pattern: tuple[str, ...]
    operation: str


def _routes(area: str, table: str) -> list[Route]:
    rows = [line.split() for line in table.strip().splitlines()]
    return [Route(area, method, tuple(part for part in path.split("/") if part), name) for method, path, name in rows]


OBJECTS = """
GET    /{type}                                          list
POST   /{type}                                          create
POST   /{type}/search                                   search
POST   /{type}/merge                                    merge
POST   /{type}/batch/create                             batch_create
POST   /{type}/batch/read                               batch_read
POST   /{type}/batch/update                             batch_update
POST   /{type}/batch/upsert                             batch_upsert
POST   /{type}/batch/archive                            batch_archive
GET    /{type}/{id}                                     read
PATCH  /{type}/{id}                                     update
DELETE /{type}/{id}                                     archive
"""
LINKS = """
GET    /{type}/{id}/associations/{to}                   association_list
PUT    /{type}/{id}/associations/{to}/{to_id}           association_put
DELETE /{type}/{id}/associations/{to}/{to_id}           association_delete
PUT    /{type}/{id}/associations/default/{to}/{to_id}   association_default
"""
ASSOCIATIONS = """
POST   /{from}/{to}/batch/create                        associations_batch_create
POST   /{from}/{to}/batch/read                          associations_batch_read
POST   /{from}/{to}/batch/archive                       associations_batch_archive
POST   /{from}/{to}/batch/labels/archive                associations_batch_labels_archive
POST   /{from}/{to}/batch/associate/default             associations_batch_default
GET    /{from}/{to}/labels                              labels
POST   /{from}/{to}/labels                              label_create
PUT    /{from}/{to}/labels                              label_update
DELETE /{from}/{to}/labels/{type_id}                    label_delete
"""
PROPERTIES = """
GET    /{type}                                          properties_list
POST   /{type}                                          property_create
GET    /{type}/groups                                   groups_list
POST   /{type}/groups                                   group_create
GET    /{type}/groups/{name}                            group_read
POST   /{type}/batch/create                             properties_batch_create
POST   /{type}/batch/read                               properties_batch_read
POST   /{type}/batch/archive                            properties_batch_archive
GET    /{type}/{name}                                   property_read
PATCH  /{type}/{name}                                   property_update
DELETE /{type}/{name}                                   property_archive
"""
SCHEMAS = """
GET    /                                                schemas_list
POST   /                                                schema_create
GET    /{schema}                                        schema_read
PATCH  /{schema}                                        schema_update
DELETE /{schema}                                        schema_archive
POST   /{schema}/associations                           schema_associate
"""

ROUTES = [
    *_routes("objects", OBJECTS),
    *_routes("links", LINKS),
    *_routes("associations", ASSOCIATIONS),
    *_routes("properties", PROPERTIES),
    *_routes("schemas", SCHEMAS),
]

# HubSpot: the version's place is not uniform, so this is a table and not a string replace.
PREFIXES: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("crm", "v3", "objects"), ("objects",)),
    (("crm", "v4", "objects"), ("links",)),
    (("crm", "objects", "DATE"), ("objects", "links")),
    (("crm", "v4", "associations"), ("associations",)),
    (("crm", "associations", "DATE"), ("associations",)),
    (("crm", "v3", "properties"), ("properties",)),
    (("crm", "properties", "DATE"), ("properties",)),
    (("crm-object-schemas", "v3", "schemas"), ("schemas",)),
    (("crm-object-schemas", "DATE", "schemas"), ("schemas",)),
]


class Match(NamedTuple):
    """An operation and the values of its path."""

    operation: str
    path: dict[str, str]


def matched(method: str, path: str) -> Match:
    """The operation at a path, else 404 or 405."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    allowed = False
    for prefix, areas in PREFIXES:
        if len(parts) < len(prefix) or not all(map(_same, prefix, parts)):
            continue
        rest = parts[len(prefix) :]
        for route in ROUTES:
            if route.area not in areas or len(route.pattern) != len(rest):
                continue
            values = _values(route.pattern, rest)
            if values is None:
                continue
            if route.method == method:
                return Match(route.operation, values)
            allowed = True
    if allowed:
        raise ApiError(405, "HTTP 405 Method Not Allowed", None)
    raise ApiError(404, "Resource not found", None)


def _same(wanted: str, part: str) -> bool:
    return part in DATED if wanted == "DATE" else wanted == part


def _values(pattern: tuple[str, ...], rest: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for wanted, part in zip(pattern, rest, strict=True):
        if wanted[0] == "{":
            values[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return values
