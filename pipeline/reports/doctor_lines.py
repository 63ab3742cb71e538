"""Findings of an examination as lines for a terminal of any width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from pipeline.plurals import counted

_COLOURS: Final = {"ok": "green", "note": "yellow", "problem": "bold red", "skipped": "dim"}

_NOTHING: Final = "nothing"


def doctor_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each finding, as :meth:`pipeline.doctor.finding.Finding.described` gives it.

    What is to do stands below what was found, where there is something.
    """
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        state = str(finding["state"])
        table.add_row(Text(state, style=_COLOURS[state]), finding["subject"], finding["found"])
        if finding["to_do"] != _NOTHING:
            table.add_row("", "", f"to do: {finding['to_do']}")
    return table


def doctor_summary(findings: Sequence[Mapping[str, Any]]) -> str:
    """The last line: how much is to do."""
    counts = Counter(str(finding["state"]) for finding in findings)
    return ", ".join(_parts(counts)) + (
        "; solve the problems first" if counts["problem"] else "; nothing stops a run"
    )


def _parts(counts: Counter[str]) -> Iterator[str]:
    for state in ("problem", "note", "ok", "skipped"):
        number = counts[state]
        if number or state == "problem":
            yield counted(number, state) if state in ("problem", "note") else f"{number} {state}"
