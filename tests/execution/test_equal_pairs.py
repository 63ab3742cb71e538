"""Equal pairs of a query and a document have equal scores in a run, and go by first-stage order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from tests.makers import write

TEXTS = ["a zip file", "the same words", "another one", "the same words", "", "the same words"]


def test_equal_texts_tie_exactly_in_a_run(goldens: Path, tmp_path: Path) -> None:
    count = len(TEXTS)
    table = pa.table(
        {
            "query_id": ["q1"] * count + ["q2"] * count,
            "query": ["how to open a zip"] * 2 * count,
            "doc_id": [f"d{place}" for place in range(count)] * 2,
            "text": TEXTS + TEXTS[::-1],
        }
    )
    job = {
        "model": {"family": "cross_encoder", "weights": str(goldens / "ms-marco-minilm-tiny")},
        "input": {"path": str(write(tmp_path / "in.parquet", table))},
        "output": {"path": str(tmp_path / "out"), "token_counts": True},
        "ray": {"mode": "in_process"},
    }
    outcome = execute(prepare(JobConfig.model_validate(job)))
    rows = pq.ParquetDataset(f"{outcome.folder}/ranked").read().to_pylist()
    assert len(rows) == 2 * count
    by_text: dict[str, set[tuple[float, int, bool]]] = {}
    for row in rows:
        texts = TEXTS if row["query_id"] == "q1" else TEXTS[::-1]
        seen = by_text.setdefault(texts[int(row["doc_id"][1:])], set())
        seen.add((row["score"], row["n_tokens"], row["truncated"]))
    assert len(by_text) == 4
    assert all(len(seen) == 1 for seen in by_text.values()), by_text
    for query, same in (("q1", [1, 3, 5]), ("q2", [0, 2, 4])):
        order = [int(row["doc_id"][1:]) for row in rows if row["query_id"] == query]
        assert [place for place in order if place in same] == same
