from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.ranking.comparison import compare
from pipeline.ranking.differences import differences
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.ranking.runs import Run

QRELS = {"q1": {"a": 1}, "q2": {"a": 1, "b": 0}, "q3": {"z": 1}, "q4": {"a": 1}}
BEFORE = evaluate(
    Run("before", {"q1": ["b", "a"], "q2": ["a", "b"], "q3": ["a"]}), QRELS, ["RR@10", "P@1"]
)
AFTER = evaluate(
    Run("after", {"q1": ["a", "b"], "q2": ["x", "b", "y", "a"], "q4": ["a"]}),
    QRELS,
    ["RR@10", "P@1"],
)


def test_wins_ties_and_losses_by_hand() -> None:
    found = differences(BEFORE, AFTER)
    assert (found.measure, found.baseline, found.other) == ("RR@10", "before", "after")
    assert [(each.query_id, each.change) for each in found.wins] == [("q4", 1.0), ("q1", 0.5)]
    assert [each.query_id for each in found.ties] == ["q3"]
    assert [(each.query_id, each.change) for each in found.losses] == [("q2", -0.75)]
    assert [each.query_id for each in found.largest(2)] == ["q4", "q2"]
    assert found.change == pytest.approx((1 + 0.5 - 0.75) / 4)
    assert found.interval is not None
    assert found.interval[0] <= found.change <= found.interval[1]
    [lost] = found.losses
    assert (lost.judged_before, lost.judged_after) == (1.0, 0.5)
    [won] = [each for each in found.wins if each.query_id == "q4"]
    assert (won.before, won.judged_before, won.judged_after) == (0.0, 0.0, 1.0)


def test_another_measure_is_taken_by_its_name() -> None:
    assert differences(BEFORE, AFTER, measure="P@1").measure == "P@1"
    with pytest.raises(ConfigurationError, match=r"'AP' was not evaluated; expected one of RR@10"):
        differences(BEFORE, AFTER, measure="AP")


def test_other_judgements_are_refused() -> None:
    other = evaluate(Run("x", {"q1": ["a"]}), {"q1": {"a": 1}}, ["RR@10", "P@1"])
    with pytest.raises(ConfigurationError, match="different measures or judgements"):
        differences(BEFORE, other)


@given(
    st.lists(
        st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=20
    )
)
def test_they_add_up_to_what_the_comparison_counts(values: list[tuple[float, float]]) -> None:
    def evaluation(run: str, place: int) -> Evaluation:
        per_query = {f"q{number}": pair[place] for number, pair in enumerate(values)}
        return Evaluation(
            run=run, measures=("RR",), per_query={"RR": per_query},
            means={"RR": sum(per_query.values()) / len(per_query)},
            missing=(), unjudged=0, blank=0, judged_at_10=1.0,
        )  # fmt: skip

    before, after = evaluation("before", 0), evaluation("after", 1)
    found = differences(before, after)
    [row] = compare(before, after, examples=3).measures
    assert (len(found.wins), len(found.ties), len(found.losses)) == (row.wins, row.ties, row.losses)
    assert found.change == pytest.approx(row.difference)
    assert [q.query_id for q in found.wins[:3]] == [q.query_id for q in row.biggest_wins]
    assert [q.query_id for q in found.losses[:3]] == [q.query_id for q in row.biggest_losses]
