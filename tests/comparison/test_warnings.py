from __future__ import annotations

from typing import Any

from pipeline.comparison.warnings import warnings_of


def report(**changes: Any) -> dict[str, Any]:
    """Of one model, without anything to be said."""
    order = {"measures": {}, "judged_at_10": 0.9, "beside_baseline": {}}
    model = {
        "name": "m", "documents": 1_000, "cut": 100, "not_scored": {}, "speed": {"measured_s": 9.0},
    }  # fmt: skip
    sample = {
        "first_stage_by": "first_stage_rank", "not_shown": {}, "unjudged_queries": 0,
        "absent_queries": 0, "near_queries": [],
    }  # fmt: skip
    return {
        "input": sample | changes.pop("input", {}),
        "measures": ["nDCG@10"],
        "judged_queries": 50,
        "queries_without_relevant": 0,
        "unseen": [],
        "first_stage": order,
        "models": [order | model | changes.pop("model", {})],
    } | changes


def test_nothing_is_said_where_all_is_well() -> None:
    assert warnings_of(report()) == []


def test_each_is_said_by_itself() -> None:
    cases = {
        "only 49 judged queries": report(judged_queries=49),
        "2 of 50 queries have no relevant document": report(queries_without_relevant=2),
        "neither ranks nor scores": report(input={"first_stage_by": "rows"}),
        "rank last everywhere: null_text: 3": report(input={"not_shown": {"null_text": 3}}),
        "7 queries of the input are not judged": report(input={"unjudged_queries": 7}),
        "8 judged queries are not among": report(input={"absent_queries": 8}),
        "3 of these differ from queries of the input by letter case alone, such as 'Q' and 'q'": (
            report(
                input={
                    "near_queries": [{"forms": "letter case", "count": 3, "examples": [("Q", "q")]}]
                }
            )
        ),
        "2 lists hold no judged document": report(unseen=["2 lists hold no judged document"]),
        "m: 80% of its first ten documents are judged, and 90%": report(
            model={"judged_at_10": 0.8}
        ),
        "m: 101 of 1,000 documents were cut": report(model={"cut": 101}),
        "m: documents without a score, which rank last: not_finite: 1": report(
            model={"not_scored": {"not_finite": 1}}
        ),
        "m: its speed is of 0.50 s": report(model={"speed": {"measured_s": 0.5}}),
    }
    for expected, given in cases.items():
        [said] = warnings_of(given)
        assert expected in said


def test_without_judgements_nothing_is_said_of_them() -> None:
    assert warnings_of(report(measures=[], judged_queries=0, first_stage={})) == []
    assert warnings_of(report(model={"cut": None})) == []
