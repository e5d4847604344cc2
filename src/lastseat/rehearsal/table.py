"""Writes a report for people: the counts, the times, and what broke; computes nothing."""

from collections.abc import Sequence

from lastseat.rehearsal.judge import Numbers, Report

ROWS: Sequence[tuple[str, tuple[tuple[str, str], ...]]] = (
    ("Students", (("students", ""), ("booked", "booked"), ("pending", "pending"), ("refused", "refused"))),
    ("Seats", (("seats", ""), ("oversold", "oversold"), ("stranded", "stranded"))),
    ("Wrong", (("failed", "failed answers"), ("duplicates", "duplicates"))),
    ("HubSpot", (("hubspot_calls", "calls"), ("hubspot_429", "refused with 429"), ("hubspot_reads", "reads"))),
    ("Answers", (("p50_ms", "ms p50"), ("p95_ms", "ms p95"), ("p99_ms", "ms p99"))),
    ("Whole", (("all_answered_ms", "ms until all are answered"), ("all_confirmed_ms", "ms until all are confirmed"))),
    ("Rate", (("accepted_per_s", "seats a second"), ("processes", "server processes"))),
)


def table(numbers: Numbers) -> str:
    """The numbers of one rush, or of all."""
    return "\n".join(f"  {title:9} {_cells(numbers, cells)}" for title, cells in ROWS)


def _cells(numbers: Numbers, cells: Sequence[tuple[str, str]]) -> str:
    return ",  ".join(f"{_shown(getattr(numbers, name))} {words}".rstrip() for name, words in cells)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def told(report: Report) -> str:
    """Everything a person wants to know of a rush."""
    parts: list[str] = []
    if len(report.rushes) > 1:
        for number, rush in enumerate(report.rushes, start=1):
            parts += [f"Rush {number}:", table(rush)]
        parts.append("Together:")
    parts.append(table(report.total))
    findings = [
        f"  {verdict.invariant} {'note' if finding.note else 'BROKEN'}: {finding.sentence}"
        for verdict in report.verdicts
        for finding in verdict.findings
    ]
    parts += findings
    parts.append("All invariants held." if report.passed else "An invariant BROKE.")
    return "\n".join(parts)
