"""Where each HubSpot operation lives, by API version: a table, because the version's place differs; never sends."""

import re
from typing import Literal
from urllib.parse import quote

from lastseat.errors import SetupError

Operation = Literal[
    "list",
    "one",
    "batch",
    "search",
    "link",
    "labels",
    "properties",
    "property",
    "schemas",
]

# HubSpot: v4 is unsupported from 2027-03-30, v1 to v3 from September 2027; the dated versions replace them.
_NUMBERED: dict[Operation, str] = {
    "list": "/crm/v3/objects/{type}",
    "one": "/crm/v3/objects/{type}/{id}",
    "batch": "/crm/v3/objects/{type}/batch/{verb}",
    "search": "/crm/v3/objects/{type}/search",
    "link": "/crm/v4/associations/{from_type}/{to_type}/batch/{verb}",
    "labels": "/crm/v4/associations/{from_type}/{to_type}/labels",
    "properties": "/crm/v3/properties/{type}",
    "property": "/crm/v3/properties/{type}/{name}",
    "schemas": "/crm-object-schemas/v3/schemas",
}
_DATED: dict[Operation, str] = {
    "list": "/crm/objects/{version}/{type}",
    "one": "/crm/objects/{version}/{type}/{id}",
    "batch": "/crm/objects/{version}/{type}/batch/{verb}",
    "search": "/crm/objects/{version}/{type}/search",
    "link": "/crm/associations/{version}/{from_type}/{to_type}/batch/{verb}",
    "labels": "/crm/associations/{version}/{from_type}/{to_type}/labels",
    "properties": "/crm/properties/{version}/{type}",
    "property": "/crm/properties/{version}/{type}/{name}",
    "schemas": "/crm-object-schemas/{version}/schemas",
}
_DATED_VERSION = re.compile(r"20\d{2}-\d{2}")


class Paths:
    """The paths of one API version: `v3` (with v4 for associations, as HubSpot has it) or a dated one."""

    def __init__(self, version: str) -> None:
        if version not in ("v3", "v4") and not _DATED_VERSION.fullmatch(version):
            raise SetupError(
                f"HUBSPOT_API_VERSION {version!r} is no version of HubSpot's API.",
                way_out="Use v3 or a dated version such as 2026-09.",
            )
        self._version = version
        self._table = _DATED if _DATED_VERSION.fullmatch(version) else _NUMBERED

    def of(self, operation: Operation, **parts: str) -> str:
        """The path of an operation; every part is quoted, so that no value can leave its place."""
        quoted = {name: quote(part, safe="") for name, part in parts.items()}
        return self._table[operation].format(version=self._version, **quoted)
