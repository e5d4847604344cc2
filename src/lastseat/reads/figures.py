"""Counts where answers came from and how old they were when they were given; knows no request and no reader."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

REMEMBERED: Final = 4_096  # Limit: ages that the percentiles are taken of

SHARES: Final = (("0.5", 0.5), ("0.99", 0.99))


class Ages:
    """Seconds, the latest ones for percentiles and the greatest of all."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=REMEMBERED)
        self.note = self._latest.append
        """Take one more; a bound method of the deque, since every answer calls it."""
        self._most_s = 0.0

    def lines(self, name: str, labels: str, what: str) -> Iterator[str]:
        """A Prometheus summary with the greatest age as quantile 1."""
        ages = sorted(self._latest)
        self._most_s = max(self._most_s, ages[-1] if ages else 0.0)
        yield f"# HELP {name} {what}"
        yield f"# TYPE {name} summary"
        for label, share in SHARES:
            value = ages[min(int(len(ages) * share), len(ages) - 1)] if ages else 0.0
            yield f'{name}{{{labels},quantile="{label}"}} {value:.6f}'
        yield f'{name}{{{labels},quantile="1"}} {self._most_s:.6f}'


class Figures:
    """What the reads of one process count."""

    def __init__(self) -> None:
        self.from_process = 0
        """Answers about exams whose body was at hand."""
        self.waited = 0
        """Answers about exams that waited for a store."""
        self.lists_from_database = 0
        """Times the list of exams was read from Supabase."""
        self.ages = Ages()
        self.checks = 0
        self.behind = 0
        self.lags = Ages()

    def lines(self, process: str) -> Iterable[str]:
        """All of it in Prometheus' text; `process` is the label that keeps processes apart."""
        name = "lastseat_exam_answers_total"
        yield f"# HELP {name} Answers about exams, by where their body was."
        yield f"# TYPE {name} counter"
        yield f'{name}{{{process},from="process"}} {self.from_process}'
        yield f'{name}{{{process},from="stores"}} {self.waited}'
        name = "lastseat_database_lists_total"
        yield f"# HELP {name} Times the list of exams was read from the database."
        yield f"# TYPE {name} counter"
        yield f"{name}{{{process}}} {self.lists_from_database}"
        yield from self.ages.lines("lastseat_body_age_seconds", process, "How old a body was when it was given out.")
        for name, what, value in (
            ("lastseat_checks_total", "Views compared with the ledger after an announcement.", self.checks),
            ("lastseat_checks_behind_total", "Of these, views that lagged behind the ledger.", self.behind),
        ):
            yield f"# HELP {name} {what}"
            yield f"# TYPE {name} counter"
            yield f"{name}{{{process}}} {value}"
        yield from self.lags.lines(
            "lastseat_view_lag_seconds", process, "How long a checked view went on showing what the ledger had left."
        )
