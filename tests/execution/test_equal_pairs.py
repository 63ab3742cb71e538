"""Equal pairs of a query and a document in a run: one score, one reason, first-stage order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import JobConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from tests.makers import write

TEXTS = ["rays of light", "a tax on windows", "rays of light", None, "a tax on windows", ""]


def run(tmp_path: Path, table: pa.Table, model: dict[str, Any], **sections: Any) -> Outcome:
    config: dict[str, Any] = {
        "model": model,
        "input": {"path": str(write(tmp_path / "in.parquet", table))},
        "output": {"path": str(tmp_path / "out"), "token_counts": True},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
        "quarantine": {"max_error_rate": 1, "max_unit_error_rate": 1},
    }
    return execute(prepare(JobConfig.model_validate(config | sections)))


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    table = pq.ParquetDataset(f"{outcome.folder}/ranked").read()
    return table.sort_by([("query_id", "ascending"), ("rank", "ascending")]).to_pylist()


def table_of(queries: list[str], texts: list[str | None], **columns: list[Any]) -> pa.Table:
    count = len(texts)
    repeated = {name: values * len(queries) for name, values in columns.items()}
    return pa.table(
        {
            "query_id": [f"q{i}" for i in range(len(queries)) for _ in texts],
            "query": [query for query in queries for _ in texts],
            "doc_id": [f"d{count - i}" for i in range(count)] * len(queries),
            "text": texts * len(queries),
            **repeated,
        }
    )


def test_they_tie_and_first_stage_order_decides(tmp_path: Path, goldens: Path) -> None:
    model = {"family": "cross_encoder", "weights": str(goldens / "ms-marco-minilm-tiny")}
    table = table_of(["light", "window", "light"], TEXTS)
    found = rows(run(tmp_path, table, model))
    assert len(found) == table.num_rows
    by_pair: dict[tuple[str, str | None], set[Any]] = {}
    text_of = dict(zip((f"d{6 - i}" for i in range(6)), TEXTS, strict=True))
    query_of = {"q0": "light", "q1": "window", "q2": "light"}
    for row in found:
        pair = (query_of[row["query_id"]], text_of[row["doc_id"]])
        seen = (row["score"], row["n_tokens"], row["truncated"], row["reason"])
        by_pair.setdefault(pair, set()).add(seen)
    assert {len(seen) for seen in by_pair.values()} == {1}
    assert by_pair["light", None] == {(None, None, None, "null_text")}
    for query in query_of:
        order = [r["doc_id"] for r in found if r["query_id"] == query]
        for first, second in (("d6", "d4"), ("d5", "d2")):  # against the order of their ids
            assert order.index(first) + 1 == order.index(second)
    assert [r["score"] for r in found[:6]] == [r["score"] for r in found[12:]]


def test_reasons_of_the_model_reach_every_copy(tmp_path: Path, goldens: Path) -> None:
    model = {"family": "jina_m0", "weights": str(goldens / "jina-reranker-m0")}
    images = [b"damaged", None, b"damaged", None]
    table = table_of(["q"], ["", "a text", "", "a text"], image=images)
    found = {row["doc_id"]: row for row in rows(run(tmp_path, table, model))}
    assert [found[name]["reason"] for name in ("d4", "d2")] == ["image_decode"] * 2
    assert found["d3"]["score"] == found["d1"]["score"]
    assert found["d3"]["rank"] < found["d1"]["rank"]
    assert found["d3"]["n_tokens"] == found["d1"]["n_tokens"] > 0
