"""The recipe "add a reranker in one file" is run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]


def test_the_reranker_of_the_recipe_runs_from_a_folder_of_its_own(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n# lengths\.py\n(.*?)```", text, re.S)
    (tmp_path / "my_rerankers").mkdir()
    (tmp_path / "my_rerankers" / "lengths.py").write_text(code, encoding="utf-8")
    table = long_table(queries=6)
    job = {
        "model": {"family": "my_rerankers.lengths", "settings": {"weight": 2.0}},
        "input": {"path": str(write(tmp_path / "in.parquet", table))},
        "output": {"path": str(tmp_path / "out")},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    [consent] = re.findall(r"rerank run -c job\.yaml (--allow-code my_rerankers\.lengths)\n", text)
    words = [sys.executable, "-m", "jobs.rerank", "-c", str(tmp_path / "job.yaml")]
    words += consent.split()
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = pq.ParquetDataset(next((tmp_path / "out").glob("*/ranked"))).read().to_pylist()
    lengths = {(r["query_id"], r["doc_id"]): len(r["text"]) for r in table.to_pylist()}
    assert len(rows) == table.num_rows
    for row in rows:
        assert row["score"] == 2.0 * lengths[row["query_id"], row["doc_id"]]
