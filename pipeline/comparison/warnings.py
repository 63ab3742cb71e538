"""What a reader has to know before one of the figures is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.comparison.orders import FIRST_STAGE
from pipeline.plurals import agreeing, counted

#: Queries below which intervals are wide whatever the models are: with differences that spread by
#: 0.3 between queries, as nDCG's do, the interval of a mean of 50 is 0.17 wide.
_FEW_QUERIES: Final = 50

#: By how much a model's share of judged documents may be below the first stage's.
_FEWER_JUDGED: Final = 0.05

#: Share of documents that are cut past which a model has not read what it ranks.
_MANY_CUT: Final = 0.1

#: Seconds of measured work below which a speed is mostly start-up and chance.
_SHORT_S: Final = 1.0


def warnings_of(report: Mapping[str, Any]) -> list[str]:
    """Sentences on a report, as :func:`pipeline.comparison.compare.compare_models` makes it."""
    found = [*_on_input(report["input"])]
    if report["measures"]:
        found += _on_judgements(report)
    for model in report["models"]:
        found += _on_model(model)
    return found


def _on_input(sample: Mapping[str, Any]) -> Iterator[str]:
    if sample["first_stage_by"] == "rows":
        yield (
            "the input has neither ranks nor scores of a first stage: first_stage is the order of "
            "its rows"
        )
    if sample["not_shown"]:
        counts = ", ".join(f"{reason}: {n:,}" for reason, n in sample["not_shown"].items())
        yield f"candidates that no model was shown, which rank last everywhere: {counts}"


def _on_judgements(report: Mapping[str, Any]) -> Iterator[str]:
    queries, sample = report["judged_queries"], report["input"]
    if queries < _FEW_QUERIES:
        yield (
            f"only {counted(queries, 'judged query')}: look at the intervals, and take a larger "
            "--sample where there are more"
        )
    if without := report["queries_without_relevant"]:
        yield (
            f"{without} of {queries} queries have no relevant document among "
            "their candidates: every order has 0 there, and only another first stage helps"
        )
    if number := sample["unjudged_queries"]:
        yield (
            f"{counted(number, 'query')} of the input {agreeing(number, 'are')} not judged, and "
            "left out"
        )
    if number := sample["absent_queries"]:
        yield (
            f"{counted(number, 'judged query')} {agreeing(number, 'are')} not among those of the "
            f"input, and {agreeing(number, 'count')} nowhere here (in `rerank evaluate` as 0)"
        )
    for near in sample["near_queries"]:
        yield (
            f"{near['count']:,} of these {agreeing(near['count'], 'differ')} from queries of the "
            f"input by {near['forms']} alone, such as "
            f"{' and '.join(map(repr, near['examples'][0]))}"
        )
    yield from report["unseen"]
    by_name = {model["name"]: model for model in report["models"]}
    before = report["first_stage"]["judged_at_10"]
    for name, model in by_name.items():
        if before - model["judged_at_10"] > _FEWER_JUDGED:
            yield (
                f"{name}: {model['judged_at_10']:.0%} of its first ten documents are judged, and "
                f"{before:.0%} of {FIRST_STAGE}'s; documents that nobody judged count as not "
                "relevant, so it may be better than its figures"
            )


def _on_model(model: Mapping[str, Any]) -> Iterator[str]:
    name, documents = model["name"], model["documents"]
    if model["cut"] is not None and model["cut"] > _MANY_CUT * documents:
        yield (
            f"{name}: {model['cut']:,} of {documents:,} documents were cut to fit "
            f"({model['cut'] / documents:.0%}); what they say further down was not read"
        )
    if model["not_scored"]:
        counts = ", ".join(f"{reason}: {n:,}" for reason, n in model["not_scored"].items())
        yield f"{name}: documents without a score, which rank last: {counts}"
    if model["speed"]["measured_s"] < _SHORT_S:
        yield (
            f"{name}: its speed is of {model['speed']['measured_s']:.2f} s of work; take a larger "
            "--sample before it is believed"
        )
