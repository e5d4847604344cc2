"""Counts where answers came from and how old they were when they were given; knows no request and no reader."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from lastseat.ports import View
from lastseat.reads.edition import Edition

FIRST_S: Final = 0.0001
STEP: Final = 1.2  # Limit: a percentile is said at most a fifth too high
BOUNDS_S: Final = tuple(FIRST_S * STEP**n for n in range(100))
"""Upper bounds of the classes that ages are counted in, from a tenth of a millisecond to two hours."""

SHARES: Final = (("0.5", 0.5), ("0.99", 0.99))


class Ages:
    """Seconds since the process began, counted in fixed classes, and the greatest of all."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.most_s = 0.0

    def note(self, age_s: float) -> None:
        """Take one more."""
        self._counts[bisect_left(BOUNDS_S, age_s)] += 1
        if age_s > self.most_s:
            self.most_s = age_s

    def note_rising(self, ages_s: Sequence[float]) -> None:
        """Take many at once, the least first."""
        begin = 0
        while begin < len(ages_s):
            place = bisect_left(BOUNDS_S, ages_s[begin])
            end = bisect_right(ages_s, BOUNDS_S[place], begin) if place < len(BOUNDS_S) else len(ages_s)
            self._counts[place] += end - begin
            begin = end
        if ages_s:
            self.most_s = max(self.most_s, ages_s[-1])

    def share(self, share: float) -> float:
        """So many of all were at most this old; never less than the truth, and never more than the greatest."""
        wanted, seen = sum(self._counts) * share, 0
        for count, bound_s in zip(self._counts, BOUNDS_S, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound_s, self.most_s)
        return self.most_s

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """One series of a Prometheus summary with the greatest age as quantile 1."""
        for label, share in SHARES:
            yield f'{name}{{{labels},quantile="{label}"}} {self.share(share):.6f}'
        yield f'{name}{{{labels},quantile="1"}} {self.most_s:.6f}'
        yield f"{name}_count{{{labels}}} {sum(self._counts)}"


def age_s(view: View, asked_at: float, *, complete: bool = True) -> float:
    """How long before now a view that was asked for at `asked_at` of `time.monotonic()` was known to be so.

    It was when it was asked for: nobody had dropped it. A stale one was when it was filled, and so were the seats in
    it where the counts are not `complete`.
    """
    if view.stale or not complete:
        return max(time.time() - view.filled_at, 0.0)
    return time.monotonic() - asked_at


def summary(name: str, what: str, series: Mapping[str, Ages]) -> Iterator[str]:
    """A Prometheus summary: its ages by their labels."""
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} summary"
    for labels, ages in series.items():
        yield from ages.lines(name, labels)


class Figures:
    """What the reads of one process count."""

    def __init__(self, current: Callable[[], Edition]) -> None:
        """`current` is the edition that is given out now, whose answers are counted when figures are asked for."""
        self._current = current
        self.from_process = 0
        """Answers about exams whose body was at hand."""
        self.waited = 0
        """Answers about exams that waited for a store."""
        self.lists_from_database = 0
        """Times the list of exams was read from Supabase."""
        self.ages = Ages()
        """How old the answers about exams were that readers got."""
        self.ages_of_lists = Ages()
        """How old a student's bookings were, where they came from a view."""
        self.ages_for_staff = Ages()
        """How old staff's exams were, where they came from a view."""
        self.checks = 0
        """Views of this process compared with the database."""
        self.behind = 0
        """Of these, views that showed for too long what was no longer so."""
        self.lags = Ages()
        """How long checked views showed what was no longer so; 0 for those that never did."""

    def count(self, edition: Edition) -> None:
        """Count the answers that an edition was given out in since it was last counted."""
        given_at, edition.given_at = edition.given_at, []
        self.from_process += len(given_at)
        self.ages.note_rising([at - edition.true_at for at in given_at])

    def lines(self, process: str) -> Iterable[str]:
        """All of it in Prometheus' text; `process` is the label that keeps processes apart."""
        self.count(self._current())
        name = "lastseat_exam_answers_total"
        yield f"# HELP {name} Answers about exams, by where their body was."
        yield f"# TYPE {name} counter"
        yield f'{name}{{{process},from="process"}} {self.from_process}'
        yield f'{name}{{{process},from="stores"}} {self.waited}'
        name = "lastseat_database_lists_total"
        yield f"# HELP {name} Times the list of exams was read from the database."
        yield f"# TYPE {name} counter"
        yield f"{name}{{{process}}} {self.lists_from_database}"
        what = "How old what readers got was: the time since it was known to be what the stores hold."
        kinds = {"exams": self.ages, "bookings": self.ages_of_lists, "staff": self.ages_for_staff}
        series = {f'{process},of="{kind}"': ages for kind, ages in kinds.items()}
        yield from summary("lastseat_body_age_seconds", what, series)
        for name, what, value in (
            ("lastseat_checks_total", "Views compared with the ledger after an announcement.", self.checks),
            ("lastseat_checks_behind_total", "Of these, views that lagged behind the ledger.", self.behind),
        ):
            yield f"# HELP {name} {what}"
            yield f"# TYPE {name} counter"
            yield f"{name}{{{process}}} {value}"
        what = "How long a checked view went on showing what the ledger had left."
        yield from summary("lastseat_view_lag_seconds", what, {process: self.lags})
