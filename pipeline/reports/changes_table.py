"""What changed between two runs, as terminal tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible
from pipeline.plurals import counted

_KINDS = ("new", "changed", "gone")


def changes_table(statistics: Mapping[str, Any], columns: Mapping[str, Any]) -> Group:
    """Counts, overlap by depth, the largest movers, and queries that are new or gone.

    Args:
        statistics: of changes, see :mod:`pipeline.refresh.changes.statistics`.
        columns: what their manifest says of columns.
    """
    shown: list[RenderableType] = [_counts(statistics), _overlap(statistics["overlap"])]
    if statistics["movers"]:
        shown.append(_movers(statistics["movers"]))
    return Group(*shown, Text("\n".join(map(visible, _lines(statistics, columns)))))


def _counts(statistics: Mapping[str, Any]) -> Table:
    table = _table("Changes", "", "before", "after", "new", "changed", "gone")
    for name, kinds in (("queries", "lists"), ("rows", "rows")):
        sides, changes = statistics[name], statistics["changes"][kinds]
        numbers = [sides["before"], sides["after"], *(changes[k] for k in _KINDS)]
        table.add_row(name, *(f"{number:,}" for number in numbers))
    return table


def _overlap(overlap: Mapping[str, Any]) -> Table:
    table = _table(
        f"Rank-biased overlap, p = {overlap['p']}", "depth", "mean", "min", "1 %", "5 %", "median"
    )
    for depth, one in overlap.items():
        if depth == "p" or one["mean"] is None:
            continue
        quantiles = (one["quantiles"][q] for q in ("0.01", "0.05", "0.5"))
        values = (one["mean"], one["min"], *quantiles)
        table.add_row(depth, *(f"{value:.3f}" for value in values))
    return table


def _movers(movers: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("Largest moves in the first ten", "query_id", "doc_id", "before", "after")
    for one in movers:
        ids = (Text(visible(one[name])) for name in ("query_id", "doc_id"))
        table.add_row(*ids, str(one["previous_rank"]), str(one["rank"]))
    return table


def _lines(statistics: Mapping[str, Any], columns: Mapping[str, Any]) -> list[str]:
    scores = statistics["scores"]
    lines = []
    if scores["mean_abs_difference"] is not None:
        drift = "" if scores["drift"] is None else f", {scores['drift']:.3f} standard deviations"
        lines.append(
            f"scores of {counted(scores['common'], 'row')} in both differ by "
            f"{scores['mean_abs_difference']:.4g} on average{drift}"
        )
    for depth, one in statistics["overlap"].items():
        if depth == "10" and one["lowest"]:
            named = (f"{row['query_id']} ({row['overlap']:.3f})" for row in one["lowest"])
            lines.append(f"least alike at 10: {', '.join(named)}")
    for heading, name in (("new queries", "new_queries"), ("gone queries", "gone_queries")):
        if statistics[name]:
            kind = name.partition("_")[0]
            count = statistics["changes"]["lists"][kind]
            more = f" and {count - len(statistics[name]):,} more"
            shown = ", ".join(statistics[name])
            lines.append(f"{heading}: {shown}{more if count > len(statistics[name]) else ''}")
    for heading, name in (("only before", "only_before"), ("only after", "only_after")):
        if columns[name]:
            lines.append(
                f"columns {heading}, so that all common rows count as changed: "
                f"{', '.join(columns[name])}"
            )
    for side, count in statistics["left_out"].items():
        if count:
            lines.append(
                f"left out {side}: {counted(count, 'row')} without an id, or twice in a list"
            )
    return lines


def _table(title: str, *headings: str) -> Table:
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        numbers = place and heading not in ("doc_id", "")
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
