"""Quality against speed, a point for each model, from a report of a comparison."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.extras import library

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Report = Mapping[str, Any]

_POINT, _LINE = "#1b6e53", "#9aa5ad"

#: Share of the width past which a name stands left of its point, so that it stays on the picture.
_TO_THE_RIGHT: Final = 0.6


def require_plot() -> None:
    """Notice before minutes of work that there will be no plot.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    library("matplotlib", extra="report", needed_by="--to")


def quality_speed_plot(report: Report, kind: Literal["svg", "png"]) -> bytes:
    """The plot as the bytes of a file; the same report gives the same bytes.

    Up is better and right is faster. Bars are intervals of the mean, and the slowest and fastest
    block. The line is the first stage.

    Args:
        report: of :func:`pipeline.comparison.compare.compare_models`, with judgements.
        kind: of the file.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    require_plot()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "rerank", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        _draw(figure.subplots(), report)
        sink = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(sink, format=kind, dpi=150, metadata=metadata)
    return sink.getvalue()


def _draw(axes: Axes, report: Report) -> None:
    from matplotlib.ticker import LogFormatter

    measure, models = report["measures"][0], report["models"]
    before = report["first_stage"]["measures"][measure]["mean"]
    axes.axhline(before, color=_LINE, linestyle="--", linewidth=1, zorder=1)
    axes.annotate(
        f"first stage {before:.4f}", (1, before), xycoords=("axes fraction", "data"),
        xytext=(-4, 3), textcoords="offset points", ha="right", color="#5c666d",
    )  # fmt: skip
    for model in models:
        found, speed = model["measures"][measure], model["speed"]
        x, y = speed["documents_per_s"], found["mean"]
        low, high = found["interval"] or (y, y)
        axes.errorbar(
            x, y, xerr=[[max(0.0, x - speed["least"])], [max(0.0, speed["most"] - x)]],
            yerr=[[y - low], [high - y]],
            fmt="o", color=_POINT, ecolor=_LINE, elinewidth=1, zorder=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    axes.margins(x=0.25, y=0.12)
    for model in models:
        x, y = model["speed"]["documents_per_s"], model["measures"][measure]["mean"]
        left = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))[0]
        on_right = left > _TO_THE_RIGHT
        axes.annotate(
            model["name"].replace("$", r"\$"), (x, y), xytext=(-7 if on_right else 7, 6),
            textcoords="offset points", ha="right" if on_right else "left",
        )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    machine = report["machine"]
    axes.set_xlabel(f"documents per second, {machine.get('gpu', machine['cpu'])} (log)")
    axes.set_ylabel(f"{measure}, {report['judged_queries']:,} queries, 95 % intervals")
