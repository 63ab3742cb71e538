"""Quality against speed, a point for each model, from a report of a comparison."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.extras import library

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Report = Mapping[str, Any]

_LINE: Final = "#9aa5ad"

#: Okabe and Ito's colours, which colour-blind readers tell apart, each with a shape of its own.
_COLOURS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
)  # fmt: skip
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")


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
        figure = Figure(figsize=(7.5, 4.2 + 0.2 * len(report["models"])), layout="constrained")
        _draw(figure.subplots(), report)
        figure.legend(loc="outside upper left", frameon=False)
        sink = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(sink, format=kind, dpi=150, metadata=metadata)
    return sink.getvalue()


def _draw(axes: Axes, report: Report) -> None:
    from matplotlib.ticker import LogFormatter

    measure = report["measures"][0]
    before = report["first_stage"]["measures"][measure]["mean"]
    axes.axhline(
        before, color=_LINE, linestyle="--", linewidth=1, label=f"first stage {before:.4f}"
    )
    looks = itertools.cycle(zip(_COLOURS, _MARKERS, strict=True))
    for model, (colour, marker) in zip(report["models"], looks, strict=False):
        found, speed = model["measures"][measure], model["speed"]
        x, y = speed["documents_per_s"], found["mean"]
        low, high = found["interval"] or (y, y)
        axes.errorbar(
            x, y, xerr=[[max(0.0, x - speed["least"])], [max(0.0, speed["most"] - x)]],
            yerr=[[y - low], [high - y]], fmt=marker, color=colour, elinewidth=0.8,
            label=f"{model['name']} {y:.4f}".replace("$", r"\$"),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    machine = report["machine"]
    axes.set_xlabel(f"documents per second, {machine.get('gpu', machine['cpu'])} (log)")
    axes.set_ylabel(f"{measure}, {report['judged_queries']:,} queries, 95 % intervals")
