"""What a reader's headers say of a body: whether it takes gzip, and whether it holds it already; answers nobody."""

import re
from collections.abc import Callable, Iterable
from typing import Final

# Limit: Accept-Encoding values whose meaning is kept, and the longest of them; browsers send about five.
KNOWN_MOST: Final = 256
LONG: Final = 256

_WEIGHT: Final = re.compile(rb"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*")


class _Takers(dict[bytes, bool]):
    """What each Accept-Encoding value means: one look-up for those that were seen before."""

    def __missing__(self, accepted: bytes) -> bool:
        takes = _takes_gzip(accepted)
        if len(accepted) <= LONG:
            if len(self) >= KNOWN_MOST:
                self.clear()
            self[accepted] = takes
        return takes


takers: Final = _Takers()
takes_gzip: Final[Callable[[bytes], bool]] = takers.__getitem__
"""Whether this value of Accept-Encoding lets us send gzip."""


def names_tag(asked: bytes, tag: bytes) -> bool:
    """Whether this value of If-None-Match names our tag: compared weakly, alone, in a list, or as `*`."""
    ours = tag.removeprefix(b"W/")
    if ours not in asked:
        return asked.strip() == b"*"
    return any(part.strip().removeprefix(b"W/") == ours for part in asked.split(b","))


def said(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """All lines of a header as one; empty without any."""
    return b", ".join(value for other, value in headers if other == name)


def _takes_gzip(accepted: bytes) -> bool:
    weights: dict[bytes, float] = {}
    for part in accepted.lower().split(b","):
        coding, _, weight = part.partition(b";")
        weights[coding.strip()] = _weight(weight)
    return weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0))) > 0


def _weight(said: bytes) -> float:
    """1 unless it says another; 0 where nobody can read it: plain is always understood."""
    if not said.strip():
        return 1.0
    read = _WEIGHT.fullmatch(said)
    return float(read[1]) if read else 0.0
