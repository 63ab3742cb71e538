"""Evaluations and comparisons of runs as terminal tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible
from pipeline.plurals import counted
from pipeline.ranking.comparison import Comparison, MeasureComparison, bootstrap_interval
from pipeline.ranking.evaluation import Evaluation
from pipeline.ranking.fusion_tuning import Tuning

#: Characters of an id that are shown.
_LONGEST_ID = 200

_TESTS = ("p\nt-test", "p\nrandom.")


def evaluation_table(
    evaluations: Sequence[Evaluation], *, joined: Iterable[str] | None = None
) -> Group:
    """Means by measure (rows) and run (columns).

    Below each mean is its 95 % bootstrap interval. The lines below say how many queries were
    judged, how many of them a run does not hold (they count as 0), how many of its queries are not
    judged (they count nowhere), and how much of what it ranks first is judged at all.

    Args:
        evaluations: at least one; all of the same measures and judgements.
        joined: lines of :func:`~pipeline.reports.joined_lines.joined_lines`, which say what was not
            seen, with examples, once for all orders of a run; None: each order has its counts.
    """
    names = [evaluation.run for evaluation in evaluations]
    table = _table("Evaluation")
    table.add_column("measure", no_wrap=True)
    for name in names:
        table.add_column(Text(visible(name)), justify="right", overflow="fold")
    for measure in evaluations[0].measures:
        table.add_row(Text(measure), *(_with_interval(each, measure) for each in evaluations))
    return Group(table, _coverage(evaluations, joined))


def comparison_table(
    comparison: Comparison, *, headings: tuple[str, str] = ("baseline", "reranked")
) -> Group:
    """One row per measure: both means, mean difference, wins, ties and losses, and p.

    p is two-sided and paired, once by t-test and once by randomization; – where a test is not
    defined.

    Args:
        comparison: of two orders.
        headings: of the columns of their means.
    """
    table = _table(f"{comparison.other} compared with {comparison.baseline}")
    table.add_column("measure", no_wrap=True)
    for heading in (*headings, "difference", "wins/ties\n/losses", *_TESTS):
        table.add_column(heading, justify="right", overflow="fold")
    for row in comparison.measures:
        table.add_row(
            Text(row.measure),
            f"{row.baseline:.4f}",
            f"{row.other:.4f}",
            f"{row.difference:+.4f}",
            f"{row.wins}/{row.ties}/{row.losses}",
            _p(row.p_t_test),
            _p(row.p_randomization),
        )
    return Group(
        table, Text(f"{counted(comparison.queries, 'judged query')}; p two-sided, paired by query")
    )


def _with_interval(evaluation: Evaluation, measure: str) -> str:
    interval = bootstrap_interval(list(evaluation.per_query[measure].values()))
    mean = f"{evaluation.means[measure]:.4f}"
    return mean if interval is None else f"{mean}\n{interval[0]:.3f} - {interval[1]:.3f}"


def changes_table(row: MeasureComparison) -> Table:
    """The queries that won and lost most by one measure: value before, after, and the change."""
    table = _table(f"Biggest wins and losses by {row.measure}")
    table.add_column("query_id", overflow="fold")
    for heading in ("before", "after", "change"):
        table.add_column(heading, justify="right", overflow="fold")
    for section in (row.biggest_wins, row.biggest_losses):
        for query in section:
            change = f"{query.after - query.before:+.4f}"
            table.add_row(
                Text(_short(query.query_id)), f"{query.before:.4f}", f"{query.after:.4f}", change
            )
        table.add_section()
    return table


def tuning_table(tuning: Tuning, measure: str, *, most: int = 8) -> Group:
    """The best of what was tried, with the mean over the queries that were tuned on."""
    table = _table(f"Fusions by {measure} on {counted(tuning.tuned_on, 'judged query')}")
    table.add_column("order", no_wrap=True)
    table.add_column("mean", justify="right", overflow="fold")
    for name, mean in tuning.tried[:most]:
        table.add_row(Text(name), f"{mean:.4f}")
    rest = len(tuning.tried) - most
    below = f"and {rest} that are no better; " if rest > 0 else ""
    return Group(table, Text(f"{below}below: the judged queries that were not tuned on"))


def as_json(
    evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison] = ()
) -> dict[str, Any]:
    """What the tables show, unrounded, for ``--json``; keys are stable and None is null.

    Returns:
        ``evaluations``: a list of run, queries, missing_queries, unjudged_queries,
        lists_without_judged, judged_at_10, means and intervals of them (by measure; 95 %, null
        with fewer than two queries). ``comparisons``: a list of baseline, other, queries and
        measures (by measure, the other fields of
        :class:`~pipeline.ranking.comparison.MeasureComparison`).
    """
    return {
        "evaluations": [
            {
                "run": each.run,
                "queries": each.queries,
                "missing_queries": list(each.missing),
                "unjudged_queries": each.unjudged,
                "lists_without_judged": each.blank,
                "judged_at_10": each.judged_at_10,
                "means": dict(each.means),
                "intervals": {
                    name: interval and list(interval)
                    for name, values in each.per_query.items()
                    for interval in [bootstrap_interval(list(values.values()))]
                },
            }
            for each in evaluations
        ],
        "comparisons": [
            {
                "baseline": each.baseline,
                "other": each.other,
                "queries": each.queries,
                "measures": {row.measure: _measure_json(row) for row in each.measures},
            }
            for each in comparisons
        ],
    }


def _table(title: str) -> Table:
    """Narrow enough for 80 columns with seven columns."""
    return Table(
        title=Text(visible(title)), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )


def _measure_json(row: MeasureComparison) -> dict[str, Any]:
    fields = asdict(row)
    del fields["measure"]
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
    }


def _coverage(evaluations: Sequence[Evaluation], joined: Iterable[str] | None) -> Text:
    lines = [f"mean over {counted(evaluations[0].queries, 'judged query')}"]
    for each in evaluations:
        lines += _unseen(each) if joined is None else ()
        lines.append(f"{each.run}: {each.judged_at_10:.1%} of the first ten documents are judged")
    return Text("\n".join(map(visible, [*lines, *(joined or ())])))


def _unseen(each: Evaluation) -> Iterator[str]:
    if each.missing:
        yield f"{each.run}: {counted(len(each.missing), 'judged query')} not in it, counted as 0"
    if each.unjudged:
        yield f"{each.run}: {counted(each.unjudged, 'query')} without judgements left out"
    if each.blank:
        yield f"{each.run}: {counted(each.blank, 'list')} without any judged document"


def _short(name: str) -> str:
    """An id for a cell, cut where it would fill the terminal."""
    text = visible(name)
    return text if len(text) <= _LONGEST_ID else f"{text[:_LONGEST_ID]}..."


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
