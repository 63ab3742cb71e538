from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import ir_measures
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import InputContractError
from pipeline.ranking.coverage import coverage
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.measures import SUPPORTED
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import Run, first_stage_run

ROOT = Path(__file__).resolve().parents[2]
DL19 = ROOT.parent / "shared" / "data" / "trec_dl19"
MEASURES = ["nDCG@10", "RR@10", "R@100", "AP@100", "RR(rel=2)@10", "AP(rel=2)@100", "P@3"]
#: In which a document that was judged irrelevant counts otherwise than one that nobody judged.
OF_JUDGED = [
    "Bpref",
    "Bpref(rel=2)",
    "Judged@3",
    "nDCG(judged_only=True)@3",
    "P(judged_only=True)@2",
]

DOCS = [f"d{i}" for i in range(8)]
RANKINGS = st.dictionaries(
    st.sampled_from(["q1", "q2", "q3", "q4"]), st.permutations(DOCS), min_size=1
)
QRELS = st.dictionaries(
    st.sampled_from(["q1", "q2", "q3", "q4", "q5"]),
    st.dictionaries(st.sampled_from(DOCS), st.integers(-1, 3), min_size=1),
    min_size=1,
)


def test_values_by_hand() -> None:
    qrels = {"q1": {"a": 3, "b": 2, "c": 0}, "q2": {"a": 1, "z": 1}}
    result = evaluate(
        Run("mine", {"q1": ["c", "a", "b"], "q2": ["x", "y", "a"]}),
        qrels,
        ["nDCG@10", "RR@2", "Recall@100", "AP(rel=3)@100"],
    )
    ndcg1 = (3 / math.log2(3) + 2 / 2) / (3 + 2 / math.log2(3))
    ndcg2 = (1 / 2) / (1 + 1 / math.log2(3))
    assert result.measures == ("nDCG@10", "RR@2", "R@100", "AP(rel=3)@100")
    assert result.per_query["nDCG@10"] == pytest.approx({"q1": ndcg1, "q2": ndcg2}, abs=1e-12)
    assert result.per_query["RR@2"] == {"q1": 0.5, "q2": 0.0}
    assert result.per_query["R@100"] == {"q1": 1.0, "q2": 0.5}
    assert result.per_query["AP(rel=3)@100"] == {"q1": 0.5, "q2": 0.0}
    assert result.means["nDCG@10"] == pytest.approx((ndcg1 + ndcg2) / 2, abs=1e-12)
    assert (result.queries, result.missing, result.unjudged) == (2, (), 0)


@pytest.mark.parametrize("ranking", list(itertools.permutations(["d1", "d2", "d3"])))
def test_our_order_is_what_is_evaluated_where_scores_tie(ranking: tuple[str, ...]) -> None:
    """trec_eval breaks equal scores by document id descending, whatever the ranks say."""
    relevant = {"q": {"d1": 1}}
    tied = {"q": dict.fromkeys(ranking, 0.5)}
    trap = ir_measures.calc_aggregate([ir_measures.RR], relevant, tied)[ir_measures.RR]
    assert trap == pytest.approx(1 / 3)
    ours = evaluate(Run("x", {"q": list(ranking)}), relevant, ["RR", "RR@10", "P@1", "Judged@1"])
    rank = ranking.index("d1") + 1
    assert ours.means["RR"] == ours.means["RR@10"] == pytest.approx(1 / rank)
    assert ours.means["P@1"] == ours.means["Judged@1"] == float(rank == 1)


def test_long_rankings_stay_in_order() -> None:
    docs = [f"{i:06}" for i in range(100_000)]
    result = evaluate(Run("x", {"q": docs}), {"q": {docs[69_999]: 1}}, ["RR"])
    assert result.means["RR"] == pytest.approx(1 / 70_000, rel=1e-9)


def test_a_run_without_any_judged_document_has_other_ids() -> None:
    qrels = {"q1": {"D1.txt": 1, "D2.txt": 0}, "q2": {}}
    run = Run("x", {"q1": ["d1", "d2"], "q2": ["d1"], "q3": ["D1.txt"]})
    with pytest.raises(InputContractError) as raised:
        coverage(run, qrels).refuse()
    assert "query 'q1': such as 'D1.txt'), found such as 'd1'" in str(raised.value)
    assert evaluate(run, qrels, ["RR"]).means["RR"] == 0.0
    assert coverage(Run("x", {"q1": ["d1", "D2.txt"]}), qrels).wrong() is None
    assert coverage(Run("x", {"q2": ["d1"], "q1": []}), qrels).wrong() is None


def test_missing_queries_count_as_zero_and_unjudged_ones_not_at_all() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1}, "q4": {"a": 0}}
    run = Run("x", {"q1": ["a"], "q3": [], "q4": ["a"], "new": ["a"], "newer": ["a"]})
    measures = [
        "RR@10",
        "nDCG@10",
        *(name for name in SUPPORTED if name not in ("R", "P", "Success")),
    ]
    result = evaluate(run, qrels, [*measures, "R@5", "Success@5", "P@1"])
    assert result.missing == ("q2", "q3")
    assert result.unjudged == 2
    assert result.queries == 4
    for name in result.measures:
        assert set(result.per_query[name]) == set(qrels)
        assert result.per_query[name]["q2"] == result.per_query[name]["q3"] == 0
    assert result.means["RR@10"] == result.means["nDCG@10"] == 0.25


def test_how_much_of_what_is_ranked_first_is_judged() -> None:
    qrels = {"q1": {"a": 1, "b": 0}, "q2": {"z": 1}, "q3": {"c": 2}}
    long = ["a", *(f"x{number}" for number in range(9)), "b"]
    result = evaluate(Run("x", {"q1": long, "q2": ["a"], "q4": ["a"]}), qrels, ["RR@10"])
    assert result.blank == 1
    assert result.judged_at_10 == pytest.approx((1 / 10 + 0) / 2)


def test_ids_that_never_match_are_an_error() -> None:
    with pytest.raises(InputContractError, match=r"none of its queries \(1\) is judged.*'q1'.*'1'"):
        evaluate(Run("x", {"1": ["a"]}), {"q1": {"a": 1}}, ["RR"])


@given(RANKINGS, QRELS)
def test_values_are_those_of_ir_measures(
    rankings: dict[str, list[str]], qrels: dict[str, dict[str, int]]
) -> None:
    assume(rankings.keys() & qrels.keys())
    # trec_eval may never return from queries all of whose judgements are negative.
    assume(all(max(docs.values()) >= 0 for docs in qrels.values()))
    names = MEASURES + OF_JUDGED
    ours = evaluate(Run("x", rankings), qrels, names)
    scores = {q: {doc: 1 / (i + 1) for i, doc in enumerate(r)} for q, r in rankings.items()}
    parsed = [ir_measures.parse_measure(name) for name in names]
    theirs, rows = ir_measures.calc(parsed, qrels, scores)
    for name, measure in zip(names, parsed, strict=True):
        assert ours.means[name] == pytest.approx(theirs[measure], abs=1e-12)
    for row in rows:
        assert ours.per_query[repr(row.measure)][row.query_id] == row.value


@given(RANKINGS, QRELS, st.randoms())
def test_the_order_of_queries_does_not_matter(
    rankings: dict[str, list[str]], qrels: dict[str, dict[str, int]], chance: object
) -> None:
    assume(rankings.keys() & qrels.keys())
    run_items, qrel_items = list(rankings.items()), list(qrels.items())
    chance.shuffle(run_items)
    chance.shuffle(qrel_items)
    shuffled = evaluate(Run("x", dict(run_items)), dict(qrel_items), MEASURES)
    assert shuffled == evaluate(Run("x", rankings), qrels, MEASURES)


@given(QRELS)
def test_a_perfect_ranking_has_ndcg_one(qrels: dict[str, dict[str, int]]) -> None:
    perfect = {q: sorted(docs, key=docs.__getitem__, reverse=True) for q, docs in qrels.items()}
    values = evaluate(Run("x", perfect), qrels, ["nDCG", "nDCG@10"]).per_query
    for query, docs in qrels.items():
        expected = float(max(docs.values()) > 0)
        assert values["nDCG"][query] == values["nDCG@10"][query] == pytest.approx(expected)


def test_negative_judgements_are_none_to_trec_eval_and_never_reach_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its nDCG sometimes loops for ever, in C, on a query all of whose judgements are negative."""
    given_to = []
    compute = ir_measures.pytrec_eval.iter_calc

    def spy(measures: object, qrels: dict[str, dict[str, int]], run: object) -> object:
        given_to.append(qrels)
        return compute(measures, qrels, run)

    monkeypatch.setattr(ir_measures.pytrec_eval, "iter_calc", spy)
    qrels = {"q1": {"a": -1, "b": -2}, "q2": {"a": -1, "b": 2}, "q3": {}}
    result = evaluate(Run("x", {"q1": ["a"], "q2": ["a", "b"], "q3": ["a"]}), qrels, ["nDCG@10"])
    assert given_to == [{"q2": {"b": 2}}]
    expected = {"q1": 0, "q2": 1 / math.log2(3), "q3": 0}
    assert result.per_query["nDCG@10"] == pytest.approx(expected)


def test_dl19_first_stage_is_the_published_number() -> None:
    if not DL19.is_dir():
        pytest.skip(f"needs the TREC DL 2019 candidates in {DL19}")
    qrels = read_qrels((DL19 / "qrels.tsv").read_bytes(), "qrels.tsv")
    run = first_stage_run(pq.read_table(DL19 / "candidates.parquet"), "BM25")
    result = evaluate(run, qrels, ["nDCG@10", "RR(rel=2)@10", "AP(rel=2)@100", "R(rel=2)@100"])
    assert {name: round(value, 4) for name, value in result.means.items()} == {
        "nDCG@10": 0.5058,
        "RR(rel=2)@10": 0.7024,
        "AP(rel=2)@100": 0.2476,
        "R(rel=2)@100": 0.491,
    }
    assert result.queries == 43
    assert result.missing == ()


def test_libraries_are_imported_when_used_only() -> None:
    code = (
        "import sys, pipeline.ranking.comparison, pipeline.reports.evaluation_table; "
        "print({'scipy', 'ir_measures', 'pytrec_eval'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
