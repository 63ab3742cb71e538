"""Bars of documents per second, a panel per bench, from what ``rerank bench --json`` wrote."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]

FORMATS: Final = ("svg", "png")

_OURS, _OTHERS, _APART = "#1b6e53", "#9aa5ad", "#d9dde0"


def check_plot(kind: str) -> None:
    """Whether a plot of this kind can be drawn here.

    Raises:
        ConfigurationError: matplotlib is not installed, or the format is another.
    """
    if kind not in FORMATS:
        raise ConfigurationError(f"--plot: '.{kind}' is not one of .{', .'.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise ConfigurationError("--plot: matplotlib is not installed; install the extra `report`")


def bench_plot(results: Sequence[Result], kind: str) -> bytes:
    """The plot as the bytes of a file.

    Bars are medians of whole passes with their least and most; on CPU by CPU time, which others on
    the machine do not slow down. A peer whose scores differ is drawn pale, without a ratio.

    Args:
        results: one panel each, at least one.
        kind: one of :data:`FORMATS`.

    Raises:
        ConfigurationError: see :func:`check_plot`.
    """
    check_plot(kind)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    heights = [len(result["contenders"]) + 1.4 for result in results]
    # A fixed salt and no date: the same figures give the same file.
    with rc_context({"svg.hashsalt": "rerank", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.5, 0.36 * sum(heights)), layout="constrained")
        panels = figure.subplots(len(results), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, result in zip(panels, results, strict=True):
            _panel(panel, result)
        sink = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(sink, format=kind, dpi=150, metadata=metadata)
    return sink.getvalue()


def _panel(panel: Axes, result: Result) -> None:
    contenders = list(reversed(result["contenders"]))
    clock = "wall_s" if result["device"] == "cuda" else "cpu_s"
    documents = result["workload"]["documents"]
    speeds = [documents / each[clock]["median"] for each in contenders]
    paired = list(zip(contenders, speeds, strict=True))
    spans = [
        [speed - documents / each[clock]["most"] for each, speed in paired],
        [documents / each[clock]["least"] - speed for each, speed in paired],
    ]
    colours = [_colour(each, result) for each in contenders]
    bars = panel.barh([each["name"] for each in contenders], speeds, color=colours, xerr=spans)
    panel.bar_label(bars, [_label(each, speed, result) for each, speed in paired], padding=4)
    panel.set_xlim(right=1.45 * max(speeds))
    panel.spines[["top", "right"]].set_visible(False)
    unit = "documents per second" if clock == "wall_s" else "documents per CPU-second"
    panel.set_xlabel(unit)
    model, work = result["model"], result["workload"]
    tiny = ", tiny network" if model["scale"] == "tiny" else ""
    panel.set_title(
        f"{work['name']}, {model['name']} {model['dtype']}{tiny}, "
        f"{result['machine'].get('gpu', result['machine']['cpu'])}",
        loc="left",
        fontsize=9,
    )


def _colour(contender: Mapping[str, Any], result: Result) -> str:
    if contender["name"] in result["not_compared"]:
        return _APART
    return _OURS if contender["ours"] else _OTHERS


def _label(contender: Mapping[str, Any], speed: float, result: Result) -> str:
    """The speed, and how many times faster the base is where that may be said."""
    text = f"{speed:,.0f}" if speed >= 100 else f"{speed:,.1f}"
    clock = "wall" if result["device"] == "cuda" else "cpu"
    for row in result["ratios"]:
        if row["name"] == contender["name"] and row[clock] is not None:
            return f"{text}   {result['base']} is {row[clock]['median']:.2f}× as fast"
    return text
