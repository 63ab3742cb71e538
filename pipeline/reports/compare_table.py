"""A comparison of models as terminal tables, from the plain data that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible
from pipeline.plurals import counted
from pipeline.reports.bench_table import percent, speed, table_of

Report = Mapping[str, Any]

_NONE = "–"

#: Characters of a name in a table, and where two stand in a row; of longer ones, which are places
#: of checkpoints, the end.
_NAME: Final = 36
_PAIRED: Final = 24


def compare_tables(report: Report) -> Group:
    """Quality where there are judgements, speed, every two orders, and what to know of them."""
    parts: list[Table | Text] = [_sample_text(report)]
    if report["measures"]:
        parts.append(_quality_table(report))
    parts += [_speed_table(report), _pairs_table(report), _notes(report)]
    return Group(*parts)


def _sample_text(report: Report) -> Text:
    sample = report["input"]
    return _lines(
        f"{sample['sampled_queries']:,} of {sample['queries']:,} queries (seed {sample['seed']}), "
        f"{counted(sample['documents'], 'document')}, of {', '.join(sample['path'])}"
    )


def _quality_table(report: Report) -> Table:
    measures = report["measures"]
    headings = [h for m in measures for h in (m, "difference", "p Holm")]
    table = table_of(
        f"Quality, and the difference to {report['baseline']}",
        (*headings, "judged\n@10"),
        first="order",
    )
    for name, order in [("first_stage", report["first_stage"])] + [
        (model["name"], model) for model in report["models"]
    ]:
        cells = []
        for measure in measures:
            beside = order["beside_baseline"].get(measure)
            cells += [
                f"{order['measures'][measure]['mean']:.4f}",
                _NONE if beside is None else f"{beside['difference']:+.4f}",
                _NONE if beside is None else _p(beside["p_holm"]),
            ]
        table.add_row(_named(name), *cells, percent(order["judged_at_10"]))
    return table


def _speed_table(report: Report) -> Table:
    headings = ("docs/s", "least to most", "speed", "tokens/s", "tokens\n/doc", "cut", "no\nscore")
    table = table_of("Speed, texts to scores, side by side", ("family", *headings), first="model")
    for model in report["models"]:
        figures = model["speed"]
        table.add_row(
            _named(model["name"]),
            Text(visible(model["model"]["family"])),
            speed(figures["documents_per_s"]),
            f"{speed(figures['least'])}–{speed(figures['most'])}",
            _times(figures["times_the_first"]),
            speed(figures["tokens_per_s"]),
            f"{figures['tokens_per_document']:,.0f}",
            _NONE if model["cut"] is None else percent(model["cut"] / model["documents"]),
            f"{sum(model['not_scored'].values()):,}",
        )
    return table


def _pairs_table(report: Report) -> Table:
    measure = next(iter(report["measures"]), None)
    judged = () if measure is None else (measure, "95 % interval", "p", "p Holm")
    headings = ("and", *judged, "RBO", "overlap\n@10", "tau")
    table = table_of("Every two orders", headings, first="order")
    for pair in report["pairs"]:
        cells = []
        if measure is not None:
            values = pair["measures"][measure]
            cells = [
                f"{values['difference']:+.4f}",
                _interval(values["interval"]),
                _p(values["p_randomization"]),
                _p(values["p_holm"]),
            ]
        alike = pair["agreement"]
        names = (_named(pair[key], _PAIRED) for key in ("first", "second"))
        figures = (f"{alike[key]:.3f}" for key in ("rbo", "overlap", "tau"))
        table.add_row(*names, *cells, *figures)
    return table


def _notes(report: Report) -> Text:
    machine = report["machine"]
    where = machine.get("gpu") or f"{machine['cpu']}, threads: {machine['torch_threads']}"
    lines = []
    if report["measures"]:
        lines.append(
            f"Means over {counted(report['judged_queries'], 'judged query')}. p: paired "
            "randomization test, two-sided; p Holm: corrected for all pairs of a measure. "
            "Differences of pairs are the second order less the first."
        )
    else:
        lines.append("No --qrels: nothing here says which of the models ranks better.")
    lines.append(
        f"Speed is of this machine ({report['device'].upper()}: {where}), of one replica; "
        "times are beside the first model, block by block."
    )
    lines += [f"Note: {warning}." for warning in report["warnings"]]
    return _lines(*lines)


def _named(name: str, most: int = _NAME) -> Text:
    return Text(visible(name if len(name) <= most else f"…{name[1 - most :]}"))


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.3g}×"


def _interval(interval: Sequence[float] | None) -> str:
    return _NONE if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return _NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _lines(*lines: str) -> Text:
    return Text("\n".join(visible(line) for line in lines))
