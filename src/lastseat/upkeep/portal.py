"""Compares a HubSpot portal with what this service needs, and makes what is missing; never touches a record."""

from collections.abc import Sequence
from typing import Final

import msgspec

from lastseat.errors import Refused, SetupError
from lastseat.ports import ObjectDraft, ObjectShape, Portal, PropertyShape, RecordKind
from lastseat.settings import Settings
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.portal_needs import (
    KEY_SETTING,
    LABELS,
    NAMES,
    TYPE_SETTING,
    Finding,
    faults_of_properties,
    key_of,
    missing_of,
    needed_of,
    type_of,
)

SETUP: Final = "Run `lastseat portal setup`."
OWN_KEY: Final = "lastseat_id"
LINKED: Final[tuple[RecordKind, ...]] = ("contacts", "exams")
KINDS: Final[tuple[RecordKind, ...]] = ("exams", "contacts", "bookings")


class Seen(msgspec.Struct, kw_only=True):
    """What a portal showed. A kind without properties is no object type there, or may not be read."""

    token_works: bool = True
    scopes: set[str] = set()
    objects: list[ObjectShape] = []
    properties: dict[RecordKind, list[PropertyShape]] = {}
    unknown: set[RecordKind] = set()
    links: dict[RecordKind, int] = {}


class Plan(msgspec.Struct, kw_only=True):
    """What setup would make, and the settings that follow from it."""

    objects: list[RecordKind] = []
    properties: dict[RecordKind, list[PropertyShape]] = {}
    links: list[RecordKind] = []
    settings: dict[str, str] = {}

    @property
    def lines(self) -> list[str]:
        """Each step for people."""
        return [
            *(f"object type {NAMES[kind]} with its properties" for kind in self.objects),
            *(
                f"{kind} property {one.name}{' (unique)' if one.unique else ''}"
                for kind, drafts in self.properties.items()
                for one in drafts
            ),
            *(f"association type from bookings to {kind}" for kind in self.links),
        ]


class PortalCheck:
    """Looks at a portal under some settings; each look is about ten calls."""

    def __init__(self, portal: Portal, calls: Calls, settings: Settings) -> None:
        self._portal = portal
        self._calls = calls
        self.settings = settings

    async def look(self) -> Seen:
        """Read every definition that matters; what may not be read is noted as a missing scope."""
        seen = Seen()
        try:
            for kind in KINDS:
                await self._look_at(seen, kind)
            await self._look_at_links(seen)
            await self._try_writes(seen)
        except SetupError:
            seen.token_works = False
        return seen

    async def make(self, plan: Plan) -> None:
        """Make what the plan says, in an order that a broken run can go on with; `settings` follows."""
        for kind in plan.objects:
            made = await self._calls.once(lambda slot, kind=kind: self._portal.make_object(slot, self._draft(kind)))
            self._set(plan, TYPE_SETTING[kind], made.type_id)
        for kind, drafts in plan.properties.items():
            object_type = type_of(self.settings, kind)
            await self._calls.once(lambda slot, t=object_type, d=drafts: self._portal.make_properties(slot, t, d))
        for end in plan.links:
            types = type_of(self.settings, "bookings"), type_of(self.settings, end)
            await self._calls.once(
                lambda slot, types=types, end=end: self._portal.make_link_type(slot, *types, f"booking_to_{end}")
            )

    async def prepared(self) -> tuple[Seen, Plan]:
        """Look, take object types that are there under their usual names, and plan what is missing."""
        plan = Plan()
        seen = await self.look()
        if self._adopt(seen, plan):
            seen = await self.look()
        self._fill(plan, seen)
        return seen, plan

    def _adopt(self, seen: Seen, plan: Plan) -> bool:
        for kind in KINDS:
            shape = _named(seen.objects, kind) if kind in seen.unknown else None
            if shape is not None:
                self._set(plan, TYPE_SETTING[kind], shape.type_id)
        return bool(plan.settings)

    def _fill(self, plan: Plan, seen: Seen) -> None:
        plan.objects = [kind for kind in KINDS if kind in seen.unknown and kind != "contacts"]
        for kind, there in seen.properties.items():
            drafts = missing_of(self.settings, kind, there)
            key = key_of(self.settings, kind)
            spoilt = next((one for one in there if one.name == key and not one.unique), None)
            if spoilt is not None:
                drafts += self._another_key(plan, kind, there)
            if drafts:
                group = _group_of(seen, kind, there, type_of(self.settings, kind))
                plan.properties[kind] = [msgspec.structs.replace(one, group=group) for one in drafts]
        for end in LINKED:
            made_now = end in plan.objects and "bookings" in seen.properties
            if made_now or seen.links.get(end) == 0:
                plan.links = [*plan.links, end]

    def _another_key(self, plan: Plan, kind: RecordKind, there: Sequence[PropertyShape]) -> list[PropertyShape]:
        """HubSpot: uniqueness is set only when a property is made, so the key becomes another one (2026)."""
        wanted = OWN_KEY if kind == "bookings" else f"{OWN_KEY}_2"
        taken = {one.name: one for one in there}
        while wanted in taken and not taken[wanted].unique:
            wanted += "_2"
        self._set(plan, KEY_SETTING[kind], wanted)
        return [] if wanted in taken else [PropertyShape(name=wanted, unique=True)]

    def _set(self, plan: Plan, name: str, value: str) -> None:
        plan.settings[name] = value
        self.settings = self.settings.model_copy(update={name.lower(): value})

    def _draft(self, kind: RecordKind) -> ObjectDraft:
        singular, plural, primary = LABELS[kind]
        others = [type_of(self.settings, "contacts")]
        others += [type_of(self.settings, "exams")] if kind == "bookings" else []
        return ObjectDraft(
            name=NAMES[kind],
            singular=singular,
            plural=plural,
            primary=primary,
            properties=needed_of(self.settings, kind),
            associated=others,
        )

    async def _look_at(self, seen: Seen, kind: RecordKind) -> None:
        object_type = type_of(self.settings, kind)
        try:
            seen.properties[kind] = await self._calls.ask(lambda slot: self._portal.properties(slot, object_type))
        except Refused as refusal:
            if not _scope_missing(seen, refusal):
                seen.unknown |= {kind}
        if kind != "contacts" and not seen.objects:
            try:
                seen.objects = await self._calls.ask(self._portal.objects)
            except Refused as refusal:
                _need_scope(seen, refusal)

    async def _look_at_links(self, seen: Seen) -> None:
        for end in LINKED:
            if "bookings" not in seen.properties or end not in seen.properties:
                continue
            types = type_of(self.settings, "bookings"), type_of(self.settings, end)
            try:
                seen.links[end] = await self._calls.ask(
                    lambda slot, types=types: self._portal.count_link_types(slot, *types)
                )
            except Refused as refusal:
                _need_scope(seen, refusal)

    async def _try_writes(self, seen: Seen) -> None:
        """Bookings, exams, and links between bookings and contacts."""
        bookings, exams = type_of(self.settings, "bookings"), type_of(self.settings, "exams")
        tries: dict[RecordKind, tuple[str, str | None]] = {
            "bookings": (bookings, None),
            "exams": (exams, None),
            "contacts": (bookings, type_of(self.settings, "contacts")),
        }
        for kind, types in tries.items():
            if "bookings" not in seen.properties or kind not in seen.properties:
                continue
            try:
                await self._calls.ask(lambda slot, types=types: self._portal.may_write(slot, *types))
            except Refused as refusal:
                _need_scope(seen, refusal)


def findings(seen: Seen, settings: Settings) -> list[Finding]:
    """Everything that is missing, each with the way out; empty when nothing is."""
    if not seen.token_works:
        fix = "Set it to the access token of your private app or service key; it may have been rotated."
        return [Finding(subject="HUBSPOT_ACCESS_TOKEN", fault="is not accepted by HubSpot", fix=fix)]
    found = [
        Finding(subject=f"scope {scope}", fault="is missing", fix="Add it to the app in HubSpot's settings.")
        for scope in sorted(seen.scopes)
    ]
    found += [_no_type(seen, settings, kind) for kind in KINDS if kind in seen.unknown]
    for kind, there in seen.properties.items():
        found += faults_of_properties(settings, kind, there)
    found += [
        Finding(subject=f"association from bookings to {end}", fault="has no type", fix=SETUP)
        for end, count in seen.links.items()
        if count == 0
    ]
    return found


def _no_type(seen: Seen, settings: Settings, kind: RecordKind) -> Finding:
    name = TYPE_SETTING[kind]
    known = _named(seen.objects, kind)
    there = ", ".join(f"{one.name} is {one.type_id}" for one in seen.objects) or "the portal has no custom objects"
    fix = f"Set {name}={known.type_id}." if known else f"Set {name} ({there}), or run `lastseat portal setup`."
    if kind == "contacts":
        fix = f"Set {name}=0-1."
    return Finding(subject=f"{name}={type_of(settings, kind)}", fault="is no object type of this portal", fix=fix)


def _named(objects: Sequence[ObjectShape], kind: RecordKind) -> ObjectShape | None:
    return next((one for one in objects if one.name.lower() == NAMES[kind]), None)


def _group_of(seen: Seen, kind: RecordKind, there: Sequence[PropertyShape], object_type: str) -> str:
    """The group that the portal's own properties are in, else the one that HubSpot makes with the object type."""
    own = next((one.group for one in there if one.group and not one.hubspot_defined), None)
    name = next((one.name for one in seen.objects if one.type_id == object_type), NAMES[kind])
    return own or ("contactinformation" if kind == "contacts" else f"{name}_information")


def _scope_missing(seen: Seen, refusal: Refused) -> bool:
    """True when a scope is to blame, now noted; False when the type is not there; else the refusal itself."""
    if refusal.code == "FORBIDDEN":
        scopes = refusal.details.get("scopes")
        named = {str(scope) for scope in scopes} if isinstance(scopes, list) else set[str]()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # the details of an error are of any shape
        seen.scopes |= named or {f"({refusal.message})"}
        return True
    if refusal.code == "NOT_FOUND":
        return False
    raise refusal


def _need_scope(seen: Seen, refusal: Refused) -> None:
    if not _scope_missing(seen, refusal):
        raise refusal
