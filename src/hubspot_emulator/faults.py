"""What may go wrong with a call, decided by seed and number of the call; never does the harm itself."""

import random
from dataclasses import dataclass, field
from typing import Any

from hubspot_emulator.settings import Switches

OUTAGES = ("500", "502", "503", "504", "521", "523", "524")
OUTCOMES: dict[str, str] = {
    "drop": "commit, then drop the connection",
    "drop-before": "drop the connection, commit nothing",
    "late": "drop the connection now, commit ARG seconds later (default 2)",
    "stall": "begin only after ARG seconds (default 2); commits even when the caller has gone",
    **{name: f"commit, then answer {name}" for name in OUTAGES},
    **{f"{name}-before": f"answer {name}, commit nothing" for name in OUTAGES},
    "401": "refuse: the token is no longer valid",
    "403": "refuse: a scope is missing",
    "423": "refuse: the account is locked",
    "429": "refuse: the rolling limit, whatever the window holds; Retry-After ARG when given",
    "429-daily": "refuse: the daily limit",
    "429-search": "refuse: the search limit",
    "477": "refuse: the account is moving, with Retry-After ARG (default 5)",
    "partial": "refuse one good row of a batch that carries trace ids",
    "empty": "commit, then answer 2xx with neither results nor errors",
    "empty-before": "answer 2xx with neither results nor errors, commit nothing",
    "short": "commit, then answer 2xx with one result missing",
}
MODIFIERS: dict[str, str] = {
    "shuffle": "answer the results of every batch in another order",
    "slow": "send the body in small pieces over ARG seconds (default 1)",
    "terse": "error bodies hold a message and nothing else",
    "html": "5xx bodies are an HTML page, as a proxy in front of HubSpot sends them",
}
STATES: dict[str, str] = {
    "property-gone": "every call sees property ARG as removed",
    "scope-lost": "every write is refused with 403",
}
WEBHOOKS: dict[str, str] = {
    "webhook-duplicate": "deliver an event twice",
    "webhook-reorder": "deliver the events of a batch in another order",
    "webhook-fail": "treat a delivery as failed although it was accepted, so that it is sent again",
}
SWITCH_NAMES = Switches.__struct_fields__
NAMES = OUTCOMES | MODIFIERS | STATES | WEBHOOKS


def dice_for(seed: int, what: str | int) -> random.Random:
    """A source of chance that repeats itself for one purpose and seed."""
    return random.Random(f"{what}:{seed}")  # noqa: S311  simulation, no secret


@dataclass
class Rule:
    """One fault: how often it strikes and which calls."""

    name: str
    chance: float = 1.0
    times: int | None = None
    arg: str = ""
    operation: str = ""

    def strikes(self, operation: str, kind: str) -> bool:
        """Whether this kind of call can be hit."""
        return self.operation in ("", operation, kind + "s")

    def seconds(self, default: float) -> float:
        """The argument as seconds."""
        return float(self.arg) if self.arg else default


@dataclass(frozen=True)
class Fate:
    """What happens to one call."""

    fault: Rule | None = None
    shuffle: bool = False
    slow_s: float = 0.0
    terse: bool = False
    html: bool = False
    scope_lost: bool = False
    gone: frozenset[str] = frozenset()
    dice: random.Random = field(default_factory=random.Random)

    @property
    def name(self) -> str:
        """The fault that strikes, or nothing."""
        return self.fault.name if self.fault else ""


def split(text: str) -> tuple[list[Rule], dict[str, str]]:
    """Rules and switches from `drop=0.3,502@writes=0.2,429=3x,late=0.1:5,shuffle,unset=absent`.

    A part that names a switch turns it; ValueError names a part that is wrong.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    switches: dict[str, str] = {}
    rules: list[Rule] = []
    for part in parts:
        name, _, value = part.partition("=")
        if name in SWITCH_NAMES:
            switches[name] = value or "true"
        else:
            rules.append(_rule(part))
    return rules, switches


def _rule(part: str) -> Rule:
    head, _, value = part.partition("=")
    chance, _, arg = value.partition(":")
    if not value:
        head, _, arg = head.partition(":")
    name, _, operation = head.partition("@")
    if name not in NAMES:
        raise ValueError(f"unknown fault {name!r}; known are {', '.join(sorted(NAMES))}")
    try:
        if arg and name in ("late", "stall", "slow", "477", "429", "429-daily", "429-search"):
            float(arg)
        if chance.endswith("x"):
            return Rule(name, 0.0, int(chance[:-1]), arg, operation)
        rule = Rule(name, float(chance or 1), None, arg, operation)
    except ValueError:
        raise ValueError(f"fault {part!r}: expected NAME[@OPERATION][=CHANCE or COUNTx][:ARG]") from None
    if not 0 <= rule.chance <= 1:
        raise ValueError(f"fault {part!r}: the chance must lie between 0 and 1")
    return rule


class Faults:
    """The rules in force. The fate of the n-th call depends on the seed, n and the rules alone."""

    def __init__(self, rules: list[Rule] | None = None, seed: int = 0) -> None:
        self.set(rules or [], seed)

    def set(self, rules: list[Rule], seed: int) -> None:
        """Replaces all rules and starts to count calls again."""
        total = sum(rule.chance for rule in rules if rule.name in OUTCOMES and not rule.operation)
        if total > 1 + 1e-9:
            raise ValueError(f"the chances of all outcomes add up to {total:g}, more than 1")
        self.rules = rules
        self.seed = seed
        self._calls = 0

    def restart(self) -> None:
        """Counts calls from the first again; rules with a count stay used up."""
        self._calls = 0

    def fate(self, operation: str, kind: str) -> Fate:
        """What happens to the next call."""
        self._calls += 1
        dice = dice_for(self.seed, self._calls)
        mine = [rule for rule in self.rules if rule.strikes(operation, kind)]
        if not mine:
            return Fate(dice=dice)
        slow, terse, html = (self._modifier(mine, name, dice) for name in ("slow", "terse", "html"))
        gone = frozenset(rule.arg for rule in mine if rule.name == "property-gone")
        lost = kind == "write" and any(rule.name == "scope-lost" for rule in mine)
        shuffle = self._modifier(mine, "shuffle", dice) is not None
        slow_s = slow.seconds(1) if slow else 0.0
        return Fate(
            self._outcome(mine, dice),
            shuffle=shuffle,
            slow_s=slow_s,
            terse=terse is not None,
            html=html is not None,
            scope_lost=lost,
            gone=gone,
            dice=dice,
        )

    def _modifier(self, mine: list[Rule], name: str, dice: random.Random) -> Rule | None:
        for rule in mine:
            if rule.name == name and self._hit(rule, dice.random()):
                return rule
        return None

    def _hit(self, rule: Rule, thrown: float) -> bool:
        if rule.times is None:
            return thrown < rule.chance
        if rule.times == 0:
            return False
        rule.times -= 1
        return True

    def _outcome(self, mine: list[Rule], dice: random.Random) -> Rule | None:
        thrown = dice.random()
        outcomes = [rule for rule in mine if rule.name in OUTCOMES]
        for rule in outcomes:
            if rule.times is not None and self._hit(rule, 1.0):
                return rule
        for rule in outcomes:
            if rule.times is None and thrown < rule.chance:
                return rule
            thrown -= rule.chance
        return None

    def webhook(self, name: str, dice: random.Random) -> bool:
        """Whether a webhook fault strikes now."""
        return any(rule.name == name and self._hit(rule, dice.random()) for rule in self.rules)

    def shown(self) -> list[dict[str, Any]]:
        """The rules in force, for the control endpoints."""
        return [
            {"name": r.name, "chance": r.chance, "times": r.times, "arg": r.arg, "operation": r.operation}
            for r in self.rules
        ]
