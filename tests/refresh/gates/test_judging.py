"""Every gate with a night that must fail it, and one that must pass."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from pipeline.config.gates import GATES, GatesConfig
from pipeline.errors import ConfigurationError, GateError
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.runs import Run
from pipeline.refresh.changes.comparing import compare
from pipeline.refresh.changes.layout import layout_of
from pipeline.refresh.changes.statistics import summary
from pipeline.refresh.gates.check import Accepted, check_names, passed
from pipeline.refresh.gates.judging import GateResult, judge
from tests.refresh.changes.oracle import LANG, Row, ranked

Lists = dict[str, str]

OFF: dict[str, Any] = dict.fromkeys(GATES)


def night(lists: Lists, *, better: float = 0.0) -> list[Row]:
    """A letter a document, scored by place."""
    return ranked(
        {
            query: [
                {"doc_id": letter, "score": better - place} for place, letter in enumerate(letters)
            ]
            for query, letters in lists.items()
        }
    )


def counted(before: list[Row], after: list[Row]) -> dict[str, Any]:
    tables = (pa.Table.from_pylist(rows, schema=LANG) for rows in (before, after))
    return summary([compare(*tables, layout_of(LANG, LANG)).statistics])


def manifest(rows: list[Row], **reasons: int) -> dict[str, Any]:
    return {"documents": len(rows), "quarantined": sum(reasons.values()), "reasons": reasons}


def result(gate: str, limit: float, before: list[Row], after: list[Row], **of: Any) -> GateResult:
    gates = GatesConfig(**{**OFF, gate: limit}, qrels="q" if gate == "min_ndcg" else None)
    reasons = of.pop("reasons", {})
    run, last = manifest(after, **reasons), manifest(before)
    [found] = judge(gates, counted(before, after), run, last, **of)
    assert found.name == gate
    return found


TEN = {f"q{n}": "abcdefghijkl" for n in range(10)}
FULL = night(TEN)


def changed(**lists: str) -> list[Row]:
    return night(TEN | lists)


@pytest.mark.parametrize(
    ("gate", "limit", "good", "bad"),
    [
        ("min_query_coverage", 0.9, night({**dict(list(TEN.items())[1:]), "new": "a"}),
         night(dict(list(TEN.items())[2:]))),
        ("max_row_change", 0.1, changed(q0="abcdef", q1="abcdef"), changed(q0="a", q1="ab")),
        ("max_row_change", 0.1, changed(q10="abcdefghijkl"), changed(q10="abcdefghijklm")),
        ("max_score_drift", 0.5, night(TEN, better=1.7), night(TEN, better=1.8)),
        ("min_overlap", 0.9, changed(q0="zyxwvutsrqpo"),
         changed(q0="zyxwvutsrqpo", q1="zabcdefghijk")),
        # What stands below the first ten does not count.
        ("min_overlap", 1.0, changed(q0="abcdefghijlk"), changed(q0="abcdefghijkl"[::-1])),
    ],
)  # fmt: skip
def test_a_night_is_let_through_up_to_a_limit(
    gate: str, limit: float, good: list[Row], bad: list[Row]
) -> None:
    let_through, held = (result(gate, limit, FULL, after) for after in (good, bad))
    assert let_through.passed, str(let_through)
    assert not held.passed, str(held)
    assert result(gate, limit, FULL, FULL).passed


def test_scores_are_counted_by_the_run() -> None:
    good = result("max_quarantine_rate", 0.05, FULL, FULL, reasons={"null_text": 6})
    bad = result("max_quarantine_rate", 0.05, FULL, FULL, reasons={"null_text": 6, "not_finite": 1})
    assert (good.value, good.passed, bad.passed) == (0.05, True, False)
    assert bad.examples == ("null_text: 6", "not_finite: 1")


def test_quality_has_a_floor() -> None:
    qrels = {"q0": {"a": 1}, "q1": {"a": 1}, "q11": {"a": 1}}
    run = {"q0": list("abc"), "q1": list("bca")}
    evaluation = evaluate(Run("today", run), qrels, ["nDCG@10"])
    low = result("min_ndcg", 0.51, FULL, FULL, evaluation=evaluation)
    assert low.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert not low.passed
    assert low.examples[0] == "q11: 0.000"
    assert "1 of them not in the run" in low.what
    assert result("min_ndcg", 0.49, FULL, FULL, evaluation=evaluation).passed
    nothing = result("min_ndcg", 0.1, FULL, FULL)
    assert (nothing.value, nothing.passed) == (0.0, False)


def test_scores_that_had_no_deviation_may_not_move() -> None:
    flat = [{**row, "score": 1.0} for row in FULL]
    moved = [{**row, "score": 1.5} for row in FULL]
    assert result("max_score_drift", 9.0, flat, flat).passed
    held = result("max_score_drift", 9.0, flat, moved)
    assert (held.value, held.passed) == (None, False)


def test_a_first_night_has_nothing_to_be_compared_with() -> None:
    found = judge(GatesConfig(), counted([], FULL), manifest(FULL), None)
    assert {one.name: (one.value, one.passed) for one in found} == {
        "min_query_coverage": (None, True),
        "max_quarantine_rate": (0.0, True),
        "max_row_change": (None, True),
        "max_score_drift": (None, True),
        "min_overlap": (None, True),
    }
    assert found[0].record() == {"value": None, "limit": 0.95, "passed": True}


def accepted(*accept: str, why: str | None = "the index was rebuilt") -> tuple[Accepted, ...]:
    bad = night({"q0": "zab", "q1": "xyz"})
    found = judge(GatesConfig(), counted(FULL, bad), manifest(bad), manifest(FULL))
    return passed(found, accept=accept, by="ann@host", at="2026-01-31T03:00:00+00:00", why=why)


def test_a_held_night_is_told_by_gate_value_limit_and_queries() -> None:
    with pytest.raises(GateError) as told:
        accepted()
    assert told.value.exit_code == 7
    message = str(told.value)
    assert "3 gates failed" in message
    assert "min_query_coverage: 0.2 (2 of 10 queries of the last publication" in message
    assert "where >= 0.95 is wanted" in message
    assert "gone: q2" in message
    assert "q0: 0." in message
    assert "--accept max_row_change" in message
    with pytest.raises(GateError, match="a gate failed") as told:
        accepted("max_row_change", "min_query_coverage")
    assert "min_overlap" in str(told.value)


def test_what_is_accepted_stands_by_name_and_reason() -> None:
    found = accepted("max_row_change", "min_query_coverage", "min_overlap", "max_score_drift")
    assert [one.gate for one in found] == ["min_query_coverage", "max_row_change", "min_overlap"]
    assert found[0].record() == {
        "gate": "min_query_coverage",
        "by": "ann@host",
        "at": "2026-01-31T03:00:00+00:00",
        "why": "the index was rebuilt",
    }


@pytest.mark.parametrize(
    ("accept", "why", "match"),
    [
        (["overlap"], "x", "no such gate; known: min_query_coverage"),
        (["min_ndcg"], "x", r"refresh\.gates\.min_ndcg is off"),
        (["min_overlap"], None, "say why"),
        (["min_overlap"], " ", "say why"),
        ([], "x", "both or neither"),
    ],
)
def test_what_could_not_be_meant_is_refused(accept: list[str], why: str | None, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        check_names(accept, why, GatesConfig())
    check_names(["min_overlap"], "why", GatesConfig())
    check_names([], None, GatesConfig())
