from __future__ import annotations

import pytest

from pipeline.errors import InputContractError
from pipeline.ranking.coverage import coverage, warnings
from pipeline.ranking.others import Others
from pipeline.ranking.runs import Run, parse_trec_run

QRELS = {
    "q1": {"a": 1, "b": 0, "z": 2},
    "q2": {"c": 1},
    "q3": {"D ": 1},
    "Q4": {"a": 1},
    "q6": {"a": 1},
}
RUN = Run("mine", {"q1": ["a", "b"], "q2": ["x"], "q3": ["d", "e"], "q4": ["a"], "q5": ["a"]})


def test_what_lists_and_judgements_have_in_common() -> None:
    found = coverage(RUN, QRELS)
    assert (found.queries, found.held, found.others) == (5, 3, 2)
    assert (found.absent, found.blank) == (("Q4", "q6"), ("q2", "q3"))
    assert (found.judged, found.judged_found) == (5, 2)
    assert (found.relevant, found.relevant_found) == (4, 1)
    assert found.wrong() is None
    assert list(warnings(found)) == [
        "2 of 5 judged queries are not in it and count as 0, such as 'Q4', 'q6'",
        "1 of these differs from its ids by letter case alone, such as 'Q4' in the judgements and "
        "'q4' in the run",
        "2 lists hold no judged document, such as those of 'q2', 'q3'; that is most of them: are "
        "these the judgements of this collection?",
        "1 judged document differs from ids in their lists by white space and letter case alone, "
        "such as 'D ' in the judgements and 'd' in the run",
        "2 queries without judgements are left out",
    ]


def test_nothing_is_said_where_all_is_seen() -> None:
    assert list(warnings(coverage(Run("x", {"q1": ["a"]}), {"q1": {"a": 1}}))) == []


def test_queries_noted_while_reading_count_as_those_that_were_read() -> None:
    others = Others(QRELS)
    others.add(["q4"])
    others.add(["q5"])
    lists = {query: docs for query, docs in RUN.rankings.items() if query in QRELS}
    assert coverage(Run("mine", lists), QRELS, others) == coverage(RUN, QRELS)


def test_of_a_trec_run_the_documents_of_judged_queries_alone_are_kept() -> None:
    lines = [
        f"{query} Q0 {doc} {rank} {-rank} x"
        for query, docs in RUN.rankings.items()
        for rank, doc in enumerate(docs, start=1)
    ]
    others = Others(QRELS)
    run = parse_trec_run("\n".join(lines), "run.txt", "mine", others=others)
    assert run.rankings.keys() == {"q1", "q2", "q3"}
    assert coverage(run, QRELS, others) == coverage(RUN, QRELS)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"1": ["a"]}, r"its queries \(1\) is judged.*'1\.0'.*'1' \(1 differs by type alone"),
        ({"x": ["a"]}, r"none of its queries \(1\) is judged; .*'1\.0'\), found such as 'x'$"),
        ({"1.0": ["1"], "2.0": ["x"]}, r"nothing to measure.*'01'.*'1' \(1 differs by type alone"),
        ({"1.0": ["01"], "2": ["a"], "3": ["b"]}, r"2 judged queries differ .* and 1 alone are"),
        ({"2.0": ["a", "B", "C"]}, r"2 judged documents differ .* letter case .* and 1 alone are"),
    ],
)
def test_wrong_joins_are_refused(lists: dict[str, list[str]], message: str) -> None:
    qrels = {"1.0": {"01": 1}, "2.0": {"a": 1, "b": 1, "c": 0}, "3.0": {"b": 1}}
    with pytest.raises(InputContractError, match=message):
        coverage(Run("x", lists), qrels).refuse()


def test_long_ids_are_cut_in_what_is_said() -> None:
    long = "x" * 10_000
    found = coverage(Run("r", {"q": [f"{long}A"], long: ["d"]}), {"q": {f"{long}a": 1, "d": 1}})
    said = [*warnings(found), found.wrong() or ""]
    assert any("letter case" in each for each in said)
    assert all(len(each) < 700 for each in said)
    other = coverage(Run("r", {f"{long}A": ["d"]}), {f"{long}a": {"d": 1}}).wrong()
    assert other is not None
    assert len(other) < 700
