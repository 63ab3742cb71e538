"""Every golden that is a list of texts, through `rerank run` on Parquet, not only the class.

They run in this process, and one on Ray: a unit takes the same stages in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fixtures_runs import Rerank, ranked
from tests.makers import write
from tests.rerankers.golden_work import token_logit_settings

Case = dict[str, Any]
Cases = Callable[[str], list[Case]]
#: One golden case as a run: the family's settings, (query, document) pairs, expected scores.
Run = tuple[str, dict[str, Any], list[tuple[str, str]], list[float]]


def predict(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"max_length": case["max_length"]} if case["max_length"] else {}
    return settings, case["pairs"], case["expected"]["logits"]


def v2_compute_score(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    if case["api"] == "rerank":
        return v2_rerank(case)
    settings, pairs, scores = compute_score(case)
    return {"long_documents": "truncate", **settings}, pairs, scores


def v2_rerank(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    """Upstream's rerank(); a case in which upstream raises has no score to compare."""
    names = {"max_length": "max_length", "max_query_length": "max_query_length"}
    names["overlap_tokens"] = "overlap"
    settings = {names[k]: v for k, v in case["kwargs"].items() if k in names}
    if "raises" in case["expected"]:
        return settings, [], []
    pairs = [(case["query"], document) for document in case["documents"]]
    return settings, pairs, [document["score"] for document in case["expected"]["documents"]]


def compute_score(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"max_length": case["max_length"]} if case["max_length"] else {}
    scores = case["expected"]["scores"]
    return settings, case["pairs"], scores if isinstance(scores, list) else [scores]


def qwen3_yes_no(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {"instruction": case["instruction"], "max_length": case["max_length"]}
    given = {name: value for name, value in settings.items() if value is not None}
    return given, case["pairs"], case["expected"]["scores"]


def token_logit(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    return token_logit_settings(case), case["pairs"], case["expected"]["scores"]


def late_interaction(case: Case) -> tuple[dict[str, Any], list[Any], list[float]]:
    settings = {
        "query_max_length": case["query_maxlen"],
        "document_max_length": case["doc_maxlen"],
    }
    pairs = [(case["query"], document) for document in case["documents"]]
    return settings, pairs, case["expected"]["scores"]


GOLDENS: dict[str, tuple[str, Callable[[Case], tuple[dict[str, Any], list[Any], list[float]]]]] = {
    "ms-marco-minilm-tiny": ("cross_encoder", predict),
    "bge-reranker-tiny": ("cross_encoder", predict),
    "mxbai-rerank-tiny": ("cross_encoder", predict),
    "jina-reranker-v1-tiny-tiny": ("jina_v1", compute_score),
    "jina-reranker-v1-turbo-tiny": ("jina_v1", compute_score),
    "jinabert-variants-tiny": ("jina_v1", compute_score),
    "jina-reranker-v2-tiny": ("jina_v2", v2_compute_score),
    "qwen3-reranker-tiny": ("qwen3_reranker", qwen3_yes_no),
    "qwen3-seq-cls-tiny": ("decoder_classifier", predict),
    "llama-nemotron-rerank-tiny": ("bidirectional_decoder", predict),
    "zerank-tiny": ("token_logit", token_logit),
    "jina-colbert-v2-tiny": ("late_interaction", late_interaction),
    "pylate-colbert-tiny": ("late_interaction", late_interaction),
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
        if not pairs:
            continue
        yield name, settings, [(q, d) for q, d in pairs], scores


def as_lists(pairs: list[tuple[str, str]]) -> pa.Table:
    """Pairs of one query become one list; equal documents of a list stay apart by their id."""
    queries = list(dict.fromkeys(query for query, _ in pairs))
    rows = [
        {"query_id": f"q{queries.index(query):04d}", "query": query, "doc_id": i, "text": document}
        for i, (query, document) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (row["query_id"], row["doc_id"])))


@pytest.mark.parametrize(
    ("golden", "token_budget"),
    [
        *((golden, 8192) for golden in GOLDENS),
        ("bge-reranker-tiny", 1),
        ("jina-reranker-v2-tiny", 64),
    ],
)
def test_goldens_through_a_run(
    rerank_in_process: Rerank,
    tmp_path: Path,
    goldens: Path,
    cases: Cases,
    golden: str,
    token_budget: int,
) -> None:
    check_golden(rerank_in_process, tmp_path, goldens, cases, golden, token_budget)


def test_a_golden_through_a_run_on_ray(
    rerank: Rerank, tmp_path: Path, goldens: Path, cases: Cases
) -> None:
    check_golden(rerank, tmp_path, goldens, cases, "bge-reranker-tiny", 8192)


def check_golden(
    rerank: Rerank, tmp_path: Path, goldens: Path, cases: Cases, golden: str, token_budget: int
) -> None:
    """Scores of a run, those of upstream."""
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


def listwise_lists(cases: list[Case]) -> Iterator[tuple[dict[str, Any], list[Case]]]:
    """Cases of jina v3 by settings; a score depends on its whole list, so cases stay apart."""
    grouped: dict[str, tuple[dict[str, Any], list[Case]]] = {}
    for case in cases:
        settings = {k: v for k, v in case["kwargs"].items() if k != "top_n"}
        if "model_max_length" in case["overrides"]:
            settings["max_length"] = case["overrides"]["model_max_length"]
        grouped.setdefault(repr(settings), (settings, []))[1].append(case)
    yield from grouped.values()


def multimodal_lists(cases: list[Case]) -> Iterator[tuple[dict[str, Any], list[Case]]]:
    """Cases of multimodal goldens by settings."""
    grouped: dict[str, tuple[dict[str, Any], list[Case]]] = {}
    for case in cases:
        grouped.setdefault(repr(case["kwargs"]), (case["kwargs"], []))[1].append(case)
    yield from grouped.values()


@pytest.mark.parametrize("name", ["jina-reranker-v3", "jina-reranker-v3-5-tiny"])
def test_listwise_goldens_through_a_run(
    rerank_in_process: Rerank, tmp_path: Path, goldens: Path, cases: Cases, name: str
) -> None:
    golden = goldens / name
    for number, (settings, group) in enumerate(listwise_lists(cases(name))):
        rows = [
            {"query_id": case["id"], "query": case["query"], "doc_id": i, "text": text}
            for case in group
            for i, text in enumerate(case["documents"])
        ]
        path = write(tmp_path / f"{number}.parquet", pa.Table.from_pylist(rows), row_group_size=50)
        model = {"family": "jina_v3", "weights": str(golden), "settings": settings}
        outcome = rerank_in_process(
            path, output=f"run{number}", model=model, units={"documents": 60}
        )
        table = ranked(outcome)
        for case in group:
            found = scores_of(table, case["id"])
            for index, score in expected_scores(case["expected"]).items():
                assert found[index] == pytest.approx(score, abs=1e-4), (case["id"], index)


def expected_scores(expected: dict[str, Any]) -> dict[int, float]:
    """Upstream's score by document; with top_n it answers for some of the documents only."""
    if expected["scores_by_index"] is not None:
        return dict(enumerate(expected["scores_by_index"]))
    return {result["index"]: result["relevance_score"] for result in expected["results"]}


def side(value: dict[str, str], golden: Path) -> tuple[str | None, bytes | None]:
    """Text and image bytes of one side of a multimodal case."""
    image = value.get("image")
    return value.get("text"), None if image is None else (golden / image).read_bytes()


@pytest.mark.parametrize(
    ("name", "family", "expected", "more"),
    [
        ("jina-reranker-m0", "jina_m0", "scores", {}),
        ("qwen3-vl-reranker-tiny", "qwen3_vl_reranker", "logits", {"activation": "none"}),
    ],
)
def test_multimodal_goldens_through_a_run(
    rerank_in_process: Rerank,
    tmp_path: Path,
    goldens: Path,
    cases: Cases,
    name: str,
    family: str,
    expected: str,
    more: dict[str, Any],
) -> None:
    golden = goldens / name
    grouped = multimodal_lists(cases(name))
    for number, (settings, group) in enumerate(grouped):
        rows = []
        for case in group:
            query, query_image = side(case["query"], golden)
            for index, document in enumerate(case["documents"]):
                text, image = side(document, golden)
                rows.append((case["id"], query, query_image, index, text, image))
        names = ("query_id", "query", "query_image", "doc_id", "text", "image")
        kinds = (pa.string(), pa.string(), pa.binary(), pa.int64(), pa.string(), pa.binary())
        columns = zip(*rows, strict=True)
        arrays = [pa.array(list(c), kind) for c, kind in zip(columns, kinds, strict=True)]
        path = write(
            tmp_path / f"{number}.parquet", pa.table(dict(zip(names, arrays, strict=True)))
        )
        model = {"family": family, "weights": str(golden), "settings": settings | more}
        outcome = rerank_in_process(
            path, output=f"run{number}", model=model, units={"documents": 20}
        )
        table = ranked(outcome)
        for case in group:
            found = scores_of(table, case["id"])
            np.testing.assert_allclose(found, case["expected"][expected], atol=1e-4, rtol=0)


def scores_of(table: pa.Table, query_id: str) -> list[float]:
    """Scores of one list by document number."""
    rows = [row for row in table.to_pylist() if row["query_id"] == query_id]
    return [row["score"] for row in sorted(rows, key=lambda row: row["doc_id"])]
