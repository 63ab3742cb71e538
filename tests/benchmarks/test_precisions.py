"""``python -m benchmarks.precisions`` on a small judged collection, with the real offline model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]

TEXTS = ("open a file and read its lines", "sort a list in place", "the weather in spring")


def test_precisions_are_compared_with_float32_on_judged_lists(tmp_path: Path) -> None:
    queries = ("how to read a file", "how to sort a list")
    table = {
        "query_id": [f"q{i}" for i in range(2) for _ in TEXTS],
        "query": [query for query in queries for _ in TEXTS],
        "doc_id": [f"d{i}" for _ in queries for i in range(3)],
        "text": TEXTS * 2,
    }
    pq.write_table(pa.table(table), tmp_path / "candidates.parquet")
    (tmp_path / "qrels.tsv").write_text("q0 0 d0 1\nq1 0 d1 1\nelsewhere 0 d1 1\n")
    written = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.precisions", tmp_path, "--precision", "bfloat16",
         "--write", written],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(written.read_text())["precisions"]
    assert list(found) == ["float32", "bfloat16"]
    assert {name: one["ndcg"] for name, one in found.items()} == {"float32": 1, "bfloat16": 1}
    assert found["float32"]["most"] == 0
    assert found["float32"]["batch"] < 1e-5
    assert 0 < found["bfloat16"]["most"] < 0.05
