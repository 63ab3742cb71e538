"""A fusion is chosen on some queries and measured on others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.config import load_config
from pipeline.config.fusion import FusionConfig
from pipeline.errors import ConfigurationError
from pipeline.ranking.fusion_tuning import described, fused_run, grid, tune

Qrels = dict[str, dict[str, int]]


def collection(
    *, own: float, first: float, queries: int = 60, documents: int = 20
) -> tuple[pa.Table, Qrels]:
    """Lists whose relevant documents stand out in either score by so many standard deviations."""
    draw = np.random.default_rng(7)
    tables, qrels = [], {}
    for query in range(queries):
        grades = (np.arange(documents) < 3).astype(int)
        scores = draw.normal(size=documents) + own * grades
        begun = draw.normal(size=documents) + first * grades
        first_rank = np.argsort(np.argsort(-begun)) + 1
        order = np.argsort(-scores)
        qrels[f"q{query}"] = {f"d{i}": int(grades[i]) for i in range(documents)}
        tables.append(
            pa.table(
                {
                    schema.QUERY_ID: [f"q{query}"] * documents,
                    schema.DOC_ID: [f"d{i}" for i in order],
                    schema.RANK: pa.array(range(1, documents + 1), pa.int32()),
                    schema.SCORE: pa.array(scores[order], pa.float32()),
                    schema.FIRST_STAGE_RANK: pa.array(first_rank[order], pa.int32()),
                    schema.FIRST_STAGE_SCORE: begun[order],
                }
            )
        )
    return pa.concat_tables(tables), qrels


def test_two_halves_of_the_truth_are_fused_and_measured_on_other_queries() -> None:
    table, qrels = collection(own=1.2, first=1.2)
    found = tune(table, qrels, tuned_by="nDCG@10", measures=("nDCG@10",))
    assert found.fusion is not None
    assert 0.3 <= found.fusion.weight <= 0.7
    first, reranked, fused = (one.means["nDCG@10"] for one in found.evaluations)
    assert fused > max(first, reranked)
    measured = set(found.evaluations[2].per_query["nDCG@10"])
    assert found.tuned_on + len(measured) == len(qrels)
    assert [mean for _, mean in found.tried] == sorted((m for _, m in found.tried), reverse=True)
    # What was not tuned on has no say: with its judgements turned round, the choice is the same.
    turned = {
        query: {doc: 1 - grade for doc, grade in docs.items()} if query in measured else docs
        for query, docs in qrels.items()
    }
    again = tune(table, turned, tuned_by="nDCG@10", measures=("nDCG@10",))
    assert again.fusion == found.fusion
    assert again.evaluations[2].means != found.evaluations[2].means


def test_no_fusion_where_the_reranker_alone_is_better() -> None:
    table, qrels = collection(own=9.0, first=-1.0)
    found = tune(table, qrels, tuned_by="nDCG@10", measures=("nDCG@10", "RR@10"))
    assert found.fusion is None
    assert [one.run for one in found.evaluations] == ["first stage", "reranked"]


def test_without_first_stage_scores_ranks_alone_are_fused() -> None:
    table, _ = collection(own=1.0, first=1.0, queries=2)
    place = table.column_names.index(schema.FIRST_STAGE_SCORE)
    without = table.set_column(place, schema.FIRST_STAGE_SCORE, pa.nulls(40, pa.float64()))
    assert {one.method for one in grid(without)} == {"rrf"}
    assert {one.method for one in grid(table)} == {"rrf", "weighted"}


def test_what_is_told_can_be_set() -> None:
    table, _ = collection(own=1.0, first=1.0, queries=1)
    for config in grid(table):
        assert load_config(FusionConfig, described(config), source="told") == config


def test_the_run_has_every_document_once() -> None:
    table, qrels = collection(own=1.0, first=1.0, queries=3)
    run = fused_run(table, FusionConfig(method="rrf"))
    assert {q: set(docs) for q, docs in run.rankings.items()} == {
        q: set(docs) for q, docs in qrels.items()
    }


def test_an_unknown_measure_is_refused() -> None:
    table, qrels = collection(own=1.0, first=1.0, queries=20)
    with pytest.raises(ConfigurationError, match="nDGC"):
        tune(table, qrels, tuned_by="nDGC@10", measures=("nDGC@10",))
