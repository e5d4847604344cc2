"""Counts requests and their time in this process and says so in Prometheus' text; knows routes, never callers."""

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable

from lastseat.web.access import What

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})

Figures = Callable[[str], Iterable[str]]


class Metrics:
    """Every process counts for itself; the label `process` keeps them apart."""

    def __init__(self) -> None:
        self._figures: list[Figures] = []
        self._requests: defaultdict[What, int] = defaultdict(int)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, figures: Figures) -> None:
        """Let `figures(labels)` say its lines too."""
        self._figures.append(figures)

    def observe(self, what: What, took_s: list[float]) -> None:
        """Count answers of one kind, each with its seconds."""
        route = what[0]
        self._requests[what] += len(took_s)
        self._seconds[route] += sum(took_s)
        buckets = self._buckets[route]
        if max(took_s) <= BOUNDS_S[0]:  # a crowd's answers
            buckets[0] += len(took_s)
        else:
            for one in took_s:
                buckets[bisect_left(BOUNDS_S, one)] += 1

    def text(self) -> str:
        """All counters in the text exposition format 0.0.4."""
        lines = [
            "# HELP lastseat_http_requests_total Answered requests.",
            "# TYPE lastseat_http_requests_total counter",
        ]
        process = f'process="{os.getpid()}"'
        for (route, method, status), count in sorted(self._requests.items()):
            labels = f'{process},route="{route}",method="{method}",status="{status}"'
            lines.append(f"lastseat_http_requests_total{{{labels}}} {count}")
        lines.append("# HELP lastseat_http_request_seconds Time from the request's head to the answer's end.")
        lines.append("# TYPE lastseat_http_request_seconds histogram")
        for route, counts in sorted(self._buckets.items()):
            lines.extend(_histogram(f'{process},route="{route}"', counts, self._seconds[route]))
        for figures in self._figures:
            lines.extend(figures(process))
        return "\n".join(lines) + "\n"


def _histogram(labels: str, counts: list[int], sum_s: float) -> list[str]:
    name = "lastseat_http_request_seconds"
    lines: list[str] = []
    total = 0
    for bound, count in zip((*BOUNDS_S, "+Inf"), counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
    return [*lines, f"{name}_sum{{{labels}}} {sum_s:.6f}", f"{name}_count{{{labels}}} {total}"]
