from __future__ import annotations

import json

import pytest
from rich.console import Console, RenderableType

from pipeline.ranking.comparison import Comparison, compare
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.ranking.runs import Run
from pipeline.reports.evaluation_table import (
    as_json,
    changes_table,
    comparison_table,
    evaluation_table,
)

QRELS = {"q1": {"a": 1}, "q[2]": {"a": 1}, "q3": {"a": 1}, "q4": {"a": 1}}


@pytest.fixture
def evaluations() -> tuple[Evaluation, Evaluation]:
    old = Run("BM25", {"q1": ["b", "a"], "q[2]": ["b", "a"], "q3": ["a", "b"], "extra": ["a"]})
    new = Run("mini[lm]", {"q1": ["a", "b"], "q[2]": ["a", "b"], "q3": ["b", "a"]})
    measures = ["RR@10", "R@100"]
    return evaluate(old, QRELS, measures), evaluate(new, QRELS, measures)


@pytest.fixture
def comparison(evaluations: tuple[Evaluation, Evaluation]) -> Comparison:
    return compare(*evaluations)


def printed_lines(renderable: RenderableType, width: int = 100) -> list[str]:
    """Printed lines with single blanks."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [" ".join(line.split()) for line in capture.get().split("\n")]


def test_evaluations_side_by_side(evaluations: tuple[Evaluation, Evaluation]) -> None:
    printed = printed_lines(evaluation_table(evaluations))
    assert "measure BM25 mini[lm]" in printed
    assert "RR@10 0.5000 0.6250" in printed
    assert "R@100 0.7500 0.7500" in printed
    assert "mean over 4 judged queries" in printed
    assert "mini[lm]: 1 judged query not in it, counted as 0" in printed
    assert "BM25: 1 query without judgements left out" in printed
    assert "BM25: 50.0% of the first ten documents are judged" in printed
    assert "0.125 - 0.875 0.250 - 1.000" in printed
    assert not any("without any judged" in line for line in printed)


def test_lists_that_nobody_judged_are_told() -> None:
    run = Run("x", {"q1": ["a", "b"], "q3": ["b"]})
    printed = printed_lines(evaluation_table([evaluate(run, QRELS, ["RR@10"])]))
    assert "x: 1 list without any judged document" in printed


def test_comparison(comparison: Comparison) -> None:
    printed = printed_lines(comparison_table(comparison))
    assert "mini[lm] compared with BM25" in printed
    assert "RR@10 0.5000 0.6250 +0.1250 2/1/1 0.638 1.000" in printed
    assert "R@100 0.7500 0.7500 +0.0000 0/4/0 1.000 1.000" in printed


def test_a_comparison_fits_a_narrow_terminal() -> None:
    run, measures = Run("a" * 60, {"q1": ["a"]}), ["AP(rel=2)@100", "RR@10"]
    comparison = compare(*(evaluate(run, QRELS, measures) for _ in range(2)))
    printed = printed_lines(comparison_table(comparison), 80)
    assert "AP(rel=2)@100 0.0000 0.0000 +0.0000 0/4/0 1.000 1.000" in printed
    assert "measure baseline reranked difference /losses t-test random." in printed
    assert "…" not in "".join(printed)


def test_undefined_and_tiny_p(comparison: Comparison) -> None:
    before = evaluate(Run("x", {"q": ["b", "a"]}), {"q": {"a": 1}}, ["RR"])
    after = evaluate(Run("y", {"q": ["a", "b"]}), {"q": {"a": 1}}, ["RR"])
    printed = printed_lines(comparison_table(compare(before, after)))
    assert "RR 0.5000 1.0000 +0.5000 1/0/0 – –" in printed
    many = {f"q{i}": {"a": 1} for i in range(40)}
    before = evaluate(Run("x", {query: ["b", "a"] for query in many}), many, ["RR"])
    after = evaluate(Run("y", {query: ["a", "b"] for query in many}), many, ["RR"])
    printed = printed_lines(comparison_table(compare(before, after)))
    assert "RR 0.5000 1.0000 +0.5000 40/0/0 – <0.001" in printed


def test_changes_name_the_queries(comparison: Comparison) -> None:
    printed = printed_lines(changes_table(comparison.measures[0]))
    start = printed.index("q1 0.5000 1.0000 +0.5000")
    assert printed[start + 1] == "q[2] 0.5000 1.0000 +0.5000"
    assert "q3 1.0000 0.5000 -0.5000" in printed[start:]


def test_json_is_plain_and_its_keys_are_stable(
    evaluations: tuple[Evaluation, Evaluation], comparison: Comparison
) -> None:
    result = as_json(evaluations, [comparison])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["evaluations"][0] == {
        "run": "BM25",
        "queries": 4,
        "missing_queries": ["q4"],
        "unjudged_queries": 1,
        "lists_without_judged": 0,
        "judged_at_10": 0.5,
        "means": {"RR@10": 0.5, "R@100": 0.75},
        "intervals": {"RR@10": [0.125, 0.875], "R@100": [0.25, 1.0]},
    }
    (compared,) = result["comparisons"]
    assert list(compared) == ["baseline", "other", "queries", "measures"]
    measure = compared["measures"]["RR@10"]
    assert list(measure) == [
        *("baseline", "other", "difference", "wins", "ties", "losses"),
        *("p_t_test", "p_randomization", "biggest_wins", "biggest_losses"),
    ]
    assert measure["difference"] == 0.125
    assert measure["biggest_losses"] == [{"query_id": "q3", "before": 1.0, "after": 0.5}]


def test_an_id_that_would_fill_the_terminal_is_cut() -> None:
    qrels = {"x" * 10_000: {"a": 1}, "q2": {"a": 1}}
    first, second = (
        evaluate(Run(name, dict.fromkeys(qrels, order)), qrels, ["RR@10"])
        for name, order in (("old", ["n", "a"]), ("new", ["a", "n"]))
    )
    lines = printed_lines(changes_table(compare(first, second).measures[0]))
    said = "".join("".join(lines).split())
    assert "xxx..." in said
    assert said.count("x") == 200
