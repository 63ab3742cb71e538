"""A run's report as one page of HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

import pipeline
from pipeline.plain_text import redacted
from pipeline.reports.page import pictures
from pipeline.reports.page.advice import advice
from pipeline.reports.page.findings import findings
from pipeline.reports.page.words import FILTERS, plain
from pipeline.sequences.lengths import LengthHistogram

_FOLDER: Final = "pipeline.reports.page"

#: Points of a timeline below which there is nothing to be drawn.
_LEAST_POINTS: Final = 3

#: Characters of a text that no filter cuts.
_LONGEST: Final = 400


def render(data: Mapping[str, Any]) -> str:
    """The page of a report.

    Nothing in it runs, and nothing is fetched: its policy allows its own style sheet alone. Texts
    from outside are escaped, control and direction marks in them written out, long ones cut.

    Args:
        data: see :func:`pipeline.execution.report.contents.contents`.

    Returns:
        HTML that stands for itself.
    """
    style = _read("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(
        data,
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        pictures=drawn(data),
        advice=advice(data["state"], data["error"], redacted(data["folder"])),
        findings=findings(data),
        lengths_shown=_lengths(data),
        config_text=yaml.safe_dump(data["run"]["config"], sort_keys=False, allow_unicode=True),
        version=pipeline.__version__,
    )


def drawn(data: Mapping[str, Any]) -> dict[str, Markup]:
    """The pictures that the data are enough for, by name."""
    timeline = _points(data["report"].get("timeline") or {})
    results, evaluation = data["results"] or {}, data["evaluation"] or {}
    comparison, histogram = data["comparison"] or {}, LengthHistogram.from_dict(data["lengths"])
    enough = len(timeline) >= _LEAST_POINTS
    moves = enough and any(point["documents_per_s"] for point in timeline)
    starts = enough and any(p["replicas_up"] + p["replicas_starting"] for p in timeline)
    wanted: dict[str, tuple[object, Callable[[], Markup]]] = {
        "speed": (moves, lambda: pictures.speed(timeline)),
        "replicas": (starts, lambda: pictures.replicas(timeline)),
        "stages": (
            sum(data["stage_seconds"].values()),
            lambda: pictures.stages(data["stage_seconds"]),
        ),
        "lengths": (histogram.sequences, lambda: pictures.lengths(histogram)),
        "scores": (results.get("scores"), lambda: pictures.scores(results["scores"])),
        "came_from": (results.get("ranks"), lambda: pictures.came_from(results["ranks"])),
        "changes": (
            evaluation.get("changes"),
            lambda: pictures.changes(evaluation["changes"], evaluation["measure"]),
        ),
        "overlap": (comparison, lambda: pictures.overlap(comparison["overlap"])),
    }
    return {name: draw() for name, (there, draw) in wanted.items() if there}


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.from_string(_read("page.html.j2"))


def _harmless(value: Any) -> Any:
    """Whatever a template writes, before it is escaped, so that no text is forgotten."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = plain(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _points(timeline: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Curves of one length as points, each with the names of the curves."""
    return [
        dict(zip(timeline, values, strict=True)) for values in zip(*timeline.values(), strict=True)
    ]


def _lengths(data: Mapping[str, Any]) -> dict[str, float] | None:
    histogram = LengthHistogram.from_dict(data["lengths"])
    if not histogram.sequences:
        return None
    return {
        "sequences": histogram.sequences,
        "tokens": histogram.total_tokens,
        "mean": histogram.mean,
        **{f"p{round(100 * q)}": histogram.quantile(q) for q in (0.5, 0.95, 0.99)},
    }


def _read(name: str) -> str:
    return resources.files(_FOLDER).joinpath(name).read_text(encoding="utf-8")
