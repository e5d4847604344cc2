"""Search over an index that lags behind the records; never sees an archived record."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hubspot_emulator.context import Asked, Context, Reply, decoded
from hubspot_emulator.failures import invalid
from hubspot_emulator.objects import is_number
from hubspot_emulator.portal import Event, ObjectType, Portal, Record
from hubspot_emulator.properties import Property, ValueProblem, normalised

GROUPS_MAX = 5
FILTERS_MAX = 6
FILTERS_IN_ALL = 18
PAGE_DEFAULT = 10
PAGE_MAX = 200
RESULTS_MAX = 10_000

Values = dict[str, str]
Key = float | str


class Filter(msgspec.Struct, kw_only=True, rename="camel"):
    """One condition."""

    property_name: str
    operator: str
    value: str | int | float | bool | None = None
    high_value: str | int | float | None = None
    values: list[str | int | float] = []


class Group(msgspec.Struct, kw_only=True, rename="camel"):
    """Conditions that must all hold."""

    filters: list[Filter] = []


class Sort(msgspec.Struct, kw_only=True, rename="camel"):
    """One order of the results."""

    property_name: str
    direction: str = "ASCENDING"


class Search(msgspec.Struct, kw_only=True, rename="camel"):
    """The body of a search."""

    filter_groups: list[Group] = []
    sorts: list[Sort | str] = []
    query: str = ""
    properties: list[str] | None = None
    limit: int = PAGE_DEFAULT
    after: str | int = 0


class Index:
    """What search sees: every record as it was `lag` ago."""

    def __init__(self, portal: Portal) -> None:
        self._seen: dict[str, dict[str, Values]] = {}
        self._waiting: deque[tuple[float, str, str, Values]] = deque()
        self.rebuild(portal)

    def rebuild(self, portal: Portal) -> None:
        """Sees everything at once, as after a long pause."""
        self._portal = portal
        self._waiting.clear()
        self._seen = {
            kind.id: {record.id: record.properties for record in kind.records.values()}
            for kind in portal.types.values()
        }

    def notice(self, events: list[Event], at: float, lag_s: float) -> None:
        """Takes note of changed records, to be seen after the lag; without one, also ahead of earlier changes."""
        self._catch_up(at)
        changed = dict.fromkeys((event[1], event[2]) for event in events if event[0] == "put")
        fresh = [(kind, one, self._portal.types[kind].records[one].properties) for kind, one in changed]
        if lag_s:
            self._waiting += [(at + lag_s, *one) for one in fresh]
            return
        self._waiting = deque(one for one in self._waiting if (one[1], one[2]) not in changed)
        for type_id, record_id, values in fresh:
            self._seen.setdefault(type_id, {})[record_id] = values

    def _catch_up(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, type_id, record_id, values = self._waiting.popleft()
            self._seen.setdefault(type_id, {})[record_id] = values

    def visible(self, kind: ObjectType, now: float) -> Iterator[Record]:
        """The live records of one type, as the index knows them."""
        self._catch_up(now)
        for record_id, values in self._seen.get(kind.id, {}).items():
            record = kind.records.get(record_id)
            if record is not None and record.archived_at is None:
                yield Record(record_id, values)


def search(ctx: Context, asked: Asked) -> Reply:
    """Records that meet any group of conditions, page by page."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, Search)
    start = _checked(sent)
    groups = [[Condition(kind, one) for one in group.filters] for group in sent.filter_groups]
    found = [record for record in ctx.index.visible(kind, ctx.at) if _meets(kind, record, groups, sent.query)]
    _sort(kind, found, sent.sorts)
    page = found[start : start + sent.limit]
    body: dict[str, Any] = {
        "total": len(found),
        "results": [ctx.shown(kind, record, sent.properties) for record in page],
    }
    if start + sent.limit < len(found):
        body["paging"] = {"next": {"after": str(start + sent.limit)}}
    return Reply(200, body)


def _checked(sent: Search) -> int:
    if not 0 < sent.limit <= PAGE_MAX:
        raise invalid(f"Invalid limit {sent.limit}: it must be between 1 and {PAGE_MAX}")
    if len(sent.filter_groups) > GROUPS_MAX:
        raise invalid(f"There are more than {GROUPS_MAX} filter groups")
    sizes = [len(group.filters) for group in sent.filter_groups]
    if any(size > FILTERS_MAX for size in sizes) or sum(sizes) > FILTERS_IN_ALL:
        raise invalid(f"There are more than {FILTERS_MAX} filters in a group or {FILTERS_IN_ALL} in all")
    text = str(sent.after or 0)
    if not is_number(text):
        raise invalid(f"Invalid paging offset: {text}")
    # HubSpot: 10,000 results in all, 400 beyond.
    if int(text) + sent.limit > RESULTS_MAX:
        raise invalid(f"Search supports at most {RESULTS_MAX} results; narrow the search down")
    return int(text)


def _meets(kind: ObjectType, record: Record, groups: list[list["Condition"]], query: str) -> bool:
    if query and not _mentions(kind, record, query.lower()):
        return False
    return not groups or any(all(one.holds(record.properties) for one in group) for group in groups)


def _mentions(kind: ObjectType, record: Record, query: str) -> bool:
    names: list[str] = kind.spec.get("searchable") or list(kind.properties)
    return any(query in record.properties.get(name, "").lower() for name in names)


def _sort(kind: ObjectType, found: list[Record], sorts: list[Sort | str]) -> None:
    found.sort(key=lambda record: int(record.id))
    for sort in reversed(sorts):
        name = sort if isinstance(sort, str) else sort.property_name
        down = not isinstance(sort, str) and sort.direction.upper().startswith("DESC")
        if name.startswith("-"):
            name, down = name[1:], True
        prop = _known(kind, name)
        found.sort(key=lambda record, p=prop: _sort_key(p, record), reverse=down)


def _sort_key(prop: Property, record: Record) -> tuple[bool, Key]:
    value = record.properties.get(prop.name)
    return (value is None, "" if value is None else comparable(prop, value))


def _known(kind: ObjectType, name: str) -> Property:
    prop = kind.properties.get(name)
    if prop is None or prop.archived:
        raise invalid(f"There was a problem with the request: property {name} does not exist")
    return prop


def comparable(prop: Property, text: str) -> Key:
    """A value in an order that fits its type; texts compare without case."""
    if prop.type == "number":
        return float(text)
    return text.lower() if prop.type == "string" else text


class Condition:
    """One filter, ready to be tried on many records."""

    def __init__(self, kind: ObjectType, one: Filter) -> None:
        self.prop = _known(kind, one.property_name)
        self.operator = one.operator
        test = TESTS.get(one.operator)
        if test is None:
            raise invalid(f"Invalid search operator {one.operator}")
        self._test = test
        self.values = [self._key(value) for value in one.values]
        self.value = self._key(one.value) if one.operator in NEED_VALUE else ""
        self.high = self._key(one.high_value) if one.operator == "BETWEEN" else ""
        if one.operator in ("IN", "NOT_IN") and not one.values:
            raise invalid(f"{one.operator} needs values")

    def _key(self, raw: str | float | bool | None) -> Key:
        if raw is None or raw == "":
            raise invalid(f"{self.operator} on {self.prop.name} needs a value")
        try:
            text = str(raw) if self.prop.type == "enumeration" else normalised(self.prop, raw)
        except ValueProblem as problem:
            if "TOKEN" in self.operator or self.prop.name == "email":
                return str(raw).lower()
            raise invalid(f"Invalid value for {self.prop.name}: {problem.message}") from None
        return comparable(self.prop, text)

    def holds(self, values: Values) -> bool:
        """Whether a record with these values meets the condition."""
        text = values.get(self.prop.name)
        if self.operator == "NOT_HAS_PROPERTY":
            return text is None
        if text is None:
            return False
        return self._test(self, comparable(self.prop, text))


def _has_token(one: Condition, have: Key) -> bool:
    wanted = str(one.value).strip("*")
    words = str(have).replace("@", " ").replace(".", " ").split()
    return wanted in words or ("*" in str(one.value) and any(wanted in word for word in words))


def _order(one: Condition, have: Key) -> int:
    # Both sides come from `comparable` of one property, so they are of one type.
    if isinstance(have, float) and isinstance(one.value, float):
        return (have > one.value) - (have < one.value)
    return (str(have) > str(one.value)) - (str(have) < str(one.value))


def _between(one: Condition, have: Key) -> bool:
    if isinstance(have, float) and isinstance(one.high, float):
        return _order(one, have) >= 0 and have <= one.high
    return _order(one, have) >= 0 and str(have) <= str(one.high)


TESTS: dict[str, Callable[[Condition, Key], bool]] = {
    "EQ": lambda one, have: have == one.value,
    "NEQ": lambda one, have: have != one.value,
    "LT": lambda one, have: _order(one, have) < 0,
    "LTE": lambda one, have: _order(one, have) <= 0,
    "GT": lambda one, have: _order(one, have) > 0,
    "GTE": lambda one, have: _order(one, have) >= 0,
    "BETWEEN": _between,
    "IN": lambda one, have: have in one.values,
    "NOT_IN": lambda one, have: have not in one.values,
    "HAS_PROPERTY": lambda one, have: True,
    "NOT_HAS_PROPERTY": lambda one, have: False,
    "CONTAINS_TOKEN": _has_token,
    "NOT_CONTAINS_TOKEN": lambda one, have: not _has_token(one, have),
}
NEED_VALUE = {"EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"}
