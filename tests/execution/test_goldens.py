"""Every golden that is a list of texts, through `rerank run` on Parquet, not only the class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.execution.conftest import Rerank, ranked
from tests.makers import write

Case = dict[str, Any]
Cases = Callable[[str], list[Case]]
#: One golden case as a run: the family's settings, (query, document) pairs, expected scores.
Run = tuple[str, dict[str, Any], list[tuple[str, str]], list[float]]


def predict(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"max_length": case["max_length"]} if case["max_length"] else {}
    return settings, case["pairs"], case["expected"]["logits"]


def compute_score(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"max_length": case["max_length"]} if case["max_length"] else {}
    scores = case["expected"]["scores"]
    return settings, case["pairs"], scores if isinstance(scores, list) else [scores]


def qwen3_yes_no(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"instruction": case["instruction"], "max_length": case["max_length"]}
    given = {name: value for name, value in settings.items() if value is not None}
    return given, case["pairs"], case["expected"]["scores"]


def late_interaction(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"query_maxlen": case["query_maxlen"], "doc_maxlen": case["doc_maxlen"]}
    pairs = [(case["query"], document) for document in case["documents"]]
    return settings, pairs, case["expected"]["scores"]


GOLDENS: dict[str, tuple[str, Callable[[Case], tuple[dict[str, Any], list[Any], list[float]]]]] = {
    "ms-marco-minilm-tiny": ("cross_encoder", predict),
    "bge-reranker-tiny": ("cross_encoder", predict),
    "mxbai-rerank-tiny": ("cross_encoder", predict),
}


def runs(golden: str, cases: list[Case]) -> Iterator[Run]:
    """Cases of one golden, those with the same settings together in one run."""
    _, read = GOLDENS[golden]
    grouped: dict[str, tuple[dict[str, Any], list[Any], list[float]]] = {}
    for case in cases:
        settings, pairs, scores = read(case)
        group = grouped.setdefault(repr(settings), (settings, [], []))
        group[1].extend(pairs)
        group[2].extend(scores)
    for name, (settings, pairs, scores) in grouped.items():
        yield name, settings, [(q, d) for q, d in pairs], scores


def as_lists(pairs: list[tuple[str, str]]) -> pa.Table:
    """Pairs of one query become one list; equal documents of a list stay apart by their id."""
    queries = list(dict.fromkeys(query for query, _ in pairs))
    rows = [
        {"query_id": f"q{queries.index(query):04d}", "query": query, "doc_id": i, "text": document}
        for i, (query, document) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (row["query_id"], row["doc_id"])))


@pytest.mark.parametrize("token_budget", [64, 8192])
@pytest.mark.parametrize("golden", GOLDENS)
def test_goldens_through_a_run(
    rerank: Rerank, tmp_path: Path, goldens: Path, cases: Cases, golden: str, token_budget: int
) -> None:
    family, _ = GOLDENS[golden]
    for number, (_, settings, pairs, scores) in enumerate(runs(golden, cases(golden))):
        path = write(tmp_path / f"{number}.parquet", as_lists(pairs), row_group_size=37)
        model = {"family": family, "weights": str(goldens / golden), "settings": settings}
        outcome = rerank(
            path,
            output=f"run{number}",
            model=model,
            units={"documents": 100},
            engine={"token_budget": token_budget},
        )
        table = ranked(outcome)
        found = np.empty(len(pairs), dtype=np.float32)
        found[table["doc_id"].to_numpy()] = table["score"].to_numpy()
        np.testing.assert_allclose(found, scores, atol=1e-4, rtol=0)
