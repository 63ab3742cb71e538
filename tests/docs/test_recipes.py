"""The recipes "add a reranker" and "add a sink", each one file, are run as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]


def test_the_reranker_of_the_recipe_runs_from_a_folder_of_its_own(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
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


def test_the_sink_of_the_recipe_is_one_file_and_nothing_else(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    [name, code] = re.findall(
        r"This whole file is a sink.*?```python\n# (\w+)\.py\n(.*?)```", text, re.S
    )[0]
    for folder in ("pipeline", "jobs", "conf"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / "tree" / folder, ignore=skipped)
    (tmp_path / f"tree/pipeline/outputs/{name}.py").write_text(code, encoding="utf-8")
    table = long_table(queries=6)
    [formats] = re.findall(r"runs a job with `output\.formats: (\[.*?\])`", text)
    job = {
        "model": {"name": "lexical"},
        "input": {"path": str(write(tmp_path / "in.parquet", table))},
        "output": {"path": str(tmp_path / "out"), "formats": yaml.safe_load(formats)},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    environment = {"PYTHONPATH": str(tmp_path / "tree"), "PATH": "/usr/bin:/bin"}
    code = "from pipeline.cli import main; main()"
    run = str(tmp_path / "out")
    for words in (
        ["run", "-c", str(tmp_path / "job.yaml")],
        ["status", run, "--check"],
        ["export", run, "--format", name, "--output", str(tmp_path / "all")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "out").glob(f"*/{name}/unit-*")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    ranked = pq.ParquetDataset(next((tmp_path / "out").glob("*/ranked"))).read()
    assert rows == ranked.to_pylist()
    assert (tmp_path / "all").read_bytes() == file.read_bytes()
