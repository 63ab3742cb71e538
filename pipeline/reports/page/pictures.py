"""The pictures of a report, each drawn from its plain data; matplotlib is imported when one is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from pipeline.reports.page.svg import COLOURS, as_markup
from pipeline.reports.page.words import brief, duration, share
from pipeline.sequences.lengths import EDGES, LengthHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches. One unit of the picture is a point, and a card of the page about as wide as 350 of them,
#: so that texts come out in about the size that they have here.
_WIDTH: Final = 4.9
_HEIGHT: Final = 2.6

#: Seconds of a unit of time, its name, and the seconds below which it is used.
_CLOCK: Final = ((1.0, "s", 180.0), (60.0, "min", 10_800.0), (3600.0, "h", math.inf))

#: What units are at, and how it is called.
STAGES: Final = {
    "read": "read",
    "encode": "encode",
    "wait_for_replica": "wait for a replica",
    "score": "score",
    "wait_for_writer": "wait for a writer",
    "rank": "rank",
    "write": "write",
}


def speed(timeline: Sequence[Mapping[str, Any]]) -> Markup:
    """Documents per second over the time of a session."""
    at, per_s = _series(timeline, "documents_per_s")
    says = (
        f"Documents per second over {duration(at[-1] - at[0])}: "
        f"up to {brief(max(per_s))}, at the end {brief(per_s[-1])}."
    )
    with _axes("speed", says) as (axes, done):
        axes.fill_between(at, per_s, color=COLOURS["first"], alpha=0.18, linewidth=0)
        axes.plot(at, per_s, color=COLOURS["first"], linewidth=1.8)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        _time_axis(axes, at)
        axes.set_ylabel("documents/s")
    return done()


def replicas(timeline: Sequence[Mapping[str, Any]]) -> Markup:
    """Replicas that were up or starting, and the share of time in which their devices worked."""
    from matplotlib.ticker import MaxNLocator

    at, up = _series(timeline, "replicas_up")
    starting = [n + m for n, m in zip(up, _series(timeline, "replicas_starting")[1], strict=True)]
    busy = [
        (float(point["elapsed_s"]), float(point["device_busy"]))
        for point in timeline
        if point["device_busy"] is not None
    ]
    says = f"Replicas over the time of the session: up to {max(up):.0f} up."
    if busy:
        says += f" Devices were at work {share(sum(b for _, b in busy) / len(busy))} of the time."
    with _axes("replicas", says) as (axes, done):
        axes.step(at, starting, where="post", color=COLOURS["muted"], linewidth=1, linestyle="--")
        axes.step(at, up, where="post", color=COLOURS["first"], linewidth=1.8)
        axes.set_ylim(0, max(1.0, *up, *starting) * 1.15)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("replicas up")
        _time_axis(axes, at)
        if busy:
            second = axes.twinx()
            second.plot(*zip(*busy, strict=True), color=COLOURS["second"], linewidth=1.2)
            second.set_ylim(0, 1.05)
            second.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
            second.tick_params(length=0, colors=COLOURS["second"])
            second.spines[:].set_visible(False)
            second.set_ylabel("devices at work", color=COLOURS["second"])
    return done()


def stages(seconds: Mapping[str, float]) -> Markup:
    """Seconds by what units were at, added up over units."""
    names = [name for name in STAGES if name in seconds]
    values = [seconds[name] for name in names]
    whole = sum(values) or 1.0
    most = max(range(len(names)), key=values.__getitem__)
    says = (
        f"Where the time of units went: most of it, {share(values[most] / whole)}, "
        f"to {STAGES[names[most]]}."
    )
    with _axes("stages", says, grid="x") as (axes, done):
        places = range(len(names))
        colours = [COLOURS["muted" if n.startswith("wait") else "first"] for n in names]
        axes.barh(places, values, color=colours, height=0.68)
        axes.set_yticks(places, [STAGES[name] for name in names])
        axes.invert_yaxis()
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{duration(value)}, {share(value / whole)}", (value, place), (4, 0),
                textcoords="offset points", va="center", fontsize=10.5, color=COLOURS["ink"],
            )  # fmt: skip
        axes.set_xlim(0, max(values) * 1.62 or 1)
        axes.set_xticks([])
    return done()


def lengths(histogram: LengthHistogram) -> Markup:
    """Sequences by length in tokens, over bins that double every four."""
    filled = histogram.counts[: len(EDGES)].nonzero()[0]
    low, high = int(filled.min()), int(filled.max())
    low, high = max(0, low - 1), min(len(EDGES) - 1, high + 1)
    counts = histogram.counts[low : high + 1]
    middle, tail = histogram.quantile(0.5), histogram.quantile(0.95)
    says = (
        f"{histogram.sequences:,} sequences by length: half have up to {middle:,.0f} tokens, "
        f"95 per cent up to {tail:,.0f}."
    )
    with _axes("lengths", says) as (axes, done):
        places = range(len(counts))
        axes.bar(places, counts / histogram.sequences, width=0.92, color=COLOURS["first"])
        step = max(1, len(counts) // 5)
        axes.set_xticks(places[::step], [f"{EDGES[low + place]:,}" for place in places[::step]])
        _share_axis(axes)
        axes.set_xlabel("tokens of a sequence, up to")
    return done()


def scores(found: Mapping[str, Any]) -> Markup:
    """Scores of all documents, and of those that are ranked first, each as shares of its kind."""
    edges, every, first = found["edges"], found["all"], found["first"]
    quantiles = found["quantiles"]
    says = (
        f"Scores of all documents, half of them up to {brief(quantiles['0.5'])}, from "
        f"{brief(quantiles['0'])} to {brief(quantiles['1'])}; and those of the documents that are "
        "ranked first."
    )
    with _axes("scores", says) as (axes, done):
        for counts, colour, label in (
            (every, "first", "all documents"),
            (first, "second", "ranked first"),
        ):
            shares = [n / (sum(counts) or 1) for n in counts]
            axes.stairs(shares, edges, color=COLOURS[colour], linewidth=1.8, label=label)
            axes.stairs(shares, edges, color=COLOURS[colour], alpha=0.14, fill=True)
        _share_axis(axes)
        axes.set_xlabel("score")
        _legend(axes)
    return done()


def came_from(ranks: Mapping[str, Any]) -> Markup:
    """First-stage ranks of the documents that are now among the first ten."""
    counts = ranks["came_from"]
    whole = sum(counts) or 1
    kept = max((n for n, count in enumerate(counts) if count), default=0) + 1
    labels, shares = ranks["bands"][:kept], [count / whole for count in counts[:kept]]
    told = ", ".join(f"{label}: {share(s)}" for label, s in zip(labels, shares, strict=True))
    with _axes("origin", f"First-stage ranks of the first ten documents. {told}.") as (axes, done):
        places = range(kept)
        axes.bar(places, shares, width=0.74, color=COLOURS["first"])
        axes.set_xticks(places, labels)
        _share_axis(axes)
        axes.set_xlabel("first-stage rank")
    return done()


def changes(values: Sequence[float], measure: str) -> Markup:
    """By how much each judged query changed, the largest loss first."""
    wins, losses = sum(v > 0 for v in values), sum(v < 0 for v in values)
    says = f"Change of {measure} by query: {wins} better, {losses} worse, of {len(values)}."
    with _axes("changes", says) as (axes, done):
        thinned = values[:: max(1, len(values) // 400)]
        colours = [COLOURS["good" if value > 0 else "bad"] for value in thinned]
        axes.bar(range(len(thinned)), thinned, width=0.9, color=colours)
        axes.axhline(0, color=COLOURS["muted"], linewidth=0.8)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel("queries, by change")
        axes.set_ylabel(measure)
    return done()


def overlap(counts: Sequence[int]) -> Markup:
    """Lists by how many of their first ten documents both runs name."""
    whole = sum(counts) or 1
    says = f"{share(counts[-1] / whole)} of the lists have the same first ten documents in both."
    with _axes("overlap", says) as (axes, done):
        axes.bar(range(11), [n / whole for n in counts], width=0.8, color=COLOURS["first"])
        axes.set_xticks([0, 2, 4, 6, 8, 10], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"])
        _share_axis(axes)
        axes.set_xlabel("first ten in common")
    return done()


@contextmanager
def _axes(name: str, says: str, *, grid: str = "y") -> Iterator[tuple[Axes, Callable[[], Markup]]]:
    """Axes in our colours, and what makes markup of them; both for the body and right after it."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.size": 11.5,
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.color": COLOURS["ink"],
        "axes.edgecolor": COLOURS["muted"],
        "axes.labelcolor": COLOURS["muted"],
        "xtick.color": COLOURS["muted"],
        "ytick.color": COLOURS["muted"],
        "grid.color": COLOURS["grid"],
    }
    with rc_context(style):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        if grid == "y":
            axes.grid(axis="y", linewidth=0.7)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        made: list[Markup] = []
        yield axes, made.pop
        made.append(as_markup(figure, name=name, says=says))


def _series(timeline: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Seconds since the session began, and the values of one curve."""
    return [float(p["elapsed_s"]) for p in timeline], [float(p[name]) for p in timeline]


def _time_axis(axes: Axes, at: Sequence[float]) -> None:
    """Seconds, minutes or hours, by how long it took, with four to seven round marks."""
    last = max(at[-1], 1.0)
    per, unit = next(found for found in _CLOCK if last < found[2] or found is _CLOCK[-1])[:2]
    rough = last / per / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * size for nice in (1, 2, 5, 10) if nice * size >= rough)
    marks = [n * step for n in range(int(last / per / step) + 1)]
    axes.set_xticks([mark * per for mark in marks], [f"{mark:g}" for mark in marks])
    axes.set_xlim(0, last)
    axes.set_xlabel(f"time ({unit})")


def _share_axis(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def _legend(axes: Axes) -> None:
    axes.legend(
        frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=11,
        handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
