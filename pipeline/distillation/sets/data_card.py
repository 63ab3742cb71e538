"""The data card of a training set: what is in it, who scored it, by which rules, and what is not.

Markdown for people, JSON for programs, histograms as PNG. The same set gives the same bytes under
the same versions of jinja2 and matplotlib.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from typing import Any, Final

import yaml

from pipeline.distillation.rules import canonical, reasons
from pipeline.distillation.rules.left_out import LEFT_OUT
from pipeline.extras import library

#: Pictures by file name, beside the card.
SCORES: Final = "scores.png"
CANDIDATES: Final = "candidates.png"
FOLDER: Final = "card"

_TEMPLATE: Final = "templates/data_card.md.j2"
_NON_COMMERCIAL: Final = re.compile(r"\bNC\b|non[- ]?commercial", re.IGNORECASE)
_SHOWN_CHARACTERS: Final = 240
_KEPT: Final = ("positives", "negatives")


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """A card as files.

    Attributes:
        markdown: ``card.md``.
        data: ``card.json``.
        pictures: PNG by file name in the folder :data:`FOLDER`.
    """

    markdown: str
    data: dict[str, Any]
    pictures: Mapping[str, bytes]


def make_card(
    manifest: Mapping[str, Any],
    *,
    examples: Sequence[Mapping[str, Any]] = (),
    exports: Mapping[str, Mapping[str, Any]] | None = None,
) -> DataCard:
    """The card of a finished set.

    Args:
        manifest: content of its ``manifest.json``.
        examples: a few canonical rows.
        exports: ``export.json`` by format, of those that were made.

    Raises:
        ConfigurationError: jinja2 or matplotlib is not installed.
    """
    data = card_data(manifest, examples=examples, exports=exports)
    pictures = {
        SCORES: _picture(manifest, _KEPT, "share of its own kind", shares=True),
        CANDIDATES: _picture(manifest, ("candidates",), "documents", shares=False),
    }
    template = _environment().from_string(
        resources.files("pipeline.distillation.sets")
        .joinpath(_TEMPLATE)
        .read_text(encoding="utf-8")
    )
    pictured = {"scores": f"{FOLDER}/{SCORES}", "candidates": f"{FOLDER}/{CANDIDATES}"}
    markdown = template.render(**data, pictures=pictured)
    return DataCard(markdown=markdown, data=data, pictures=pictures)


def require_libraries() -> None:
    """Notice before hours of work that the card could not be made.

    Raises:
        ConfigurationError: jinja2 or matplotlib is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        _library(name)


def card_data(
    manifest: Mapping[str, Any],
    *,
    examples: Sequence[Mapping[str, Any]] = (),
    exports: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What the card says, as plain data; keys are stable."""
    rejected = {
        "queries": _explained(manifest["queries_rejected"], reasons.QUERY_REASONS),
        "candidates": _explained(
            manifest["candidates_rejected"], reasons.CANDIDATE_REASONS | reasons.QUERY_REASONS
        ),
    }
    return {
        "set_id": manifest["set_id"],
        "splits": {split: manifest["splits"][split] for split in canonical.SPLITS},
        "sources": manifest["sources"],
        "candidates": manifest["candidates"],
        "queries": manifest["queries"],
        "teachers": manifest["teachers"],
        "licences": licence_notes(manifest["teachers"]),
        "combination": manifest["combination"],
        "rules": manifest["rules"],
        "coverage": manifest["coverage"],
        "rejected": rejected,
        "scores": manifest["scores"],
        "list_spread": manifest["list_spread"],
        "temperature": manifest["temperature"],
        "histograms": manifest["histograms"] | {"edges": manifest["histogram_edges"]},
        "exports": {
            name: dict(summary) | {"left_out": _explained(summary["left_out"], LEFT_OUT)}
            for name, summary in sorted((exports or {}).items())
        },
        "examples": [_example(row) for row in examples],
    }


def licence_notes(teachers: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What each teacher's licence means for the set: free, non_commercial or unknown."""
    notes = []
    for teacher in teachers:
        licence = str(teacher["licence"] or "")
        kind = "non_commercial" if _NON_COMMERCIAL.search(licence.replace("_", "-")) else "free"
        notes.append(
            {
                "teacher": str(teacher["name"]),
                "licence": licence,
                "kind": kind if licence else "unknown",
            }
        )
    return notes


def _explained(counts: Mapping[str, int], meanings: Mapping[str, str]) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"reason": code, "count": count, "meaning": meanings[code]} for code, count in ordered]


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "query_id": row["query_id"],
        "query": _shortened(row["query"], row.get("query_image")),
        **{kind: [_shown(item) for item in row[kind]] for kind in _KEPT},
    }


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    image = item["image"] or item["image_uri"]
    kept = ("doc_id", "score", "relevance", "rank", "source")
    return {key: item[key] for key in kept} | {"text": _shortened(item["text"], image)}


def _shortened(text: str | None, image: Any) -> str:
    if text is None:
        return "(an image)" if image else ""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS].rstrip() + " …"
    return f"{cut} (and an image)" if image else cut


def _picture(
    manifest: Mapping[str, Any], kinds: Sequence[str], label: str, *, shares: bool
) -> bytes:
    """A histogram per kind over the same bins, as PNG."""
    _library("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    edges = manifest["histogram_edges"]
    colours = {"positives": "#0072b2", "negatives": "#d55e00", "candidates": "#666666"}
    figure = Figure(figsize=(7, 3.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for kind in kinds:
        counts = manifest["histograms"][kind]
        total = sum(counts)
        heights = [n / max(total, 1) for n in counts] if shares else counts
        named = f"{kind} ({total:,})"
        axes.stairs(heights, edges, fill=True, alpha=0.35, color=colours[kind])
        axes.stairs(heights, edges, color=colours[kind], linewidth=1.4, label=named)
    scale = manifest["combination"]["score_scale"]
    axes.set_xlabel(f"combined teacher score ({scale}); end bins hold what lies outside")
    axes.set_ylabel(label)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    data = BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(data, metadata={"Software": None})
    return data.getvalue()


def _environment() -> Any:
    jinja2 = _library("jinja2")
    environment = jinja2.Environment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"cell": _cell, "number": "{:,}".format, "yaml": _yaml}
    return environment


def _cell(value: Any) -> str:
    """A value inside a table: one line, and nothing that Markdown or HTML would act on."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def _yaml(value: Any) -> str:
    plain = json.loads(json.dumps(value))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).rstrip()


def _library(module: str) -> Any:
    return library(module, extra="report", needed_by="the data card")
