"""`rerank inspect` and `rerank init` as people type them, on healthy and on sick inputs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import JobConfig, load_config
from tests.makers import long_table, nested_table, write, write_parts

ROOT = Path(__file__).resolve().parents[2]


def rerank(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def scattered(table: pa.Table) -> pa.Table:
    return table.take(pa.array(random.Random(1).sample(range(len(table)), len(table))))


@pytest.fixture
def layouts(tmp_path: Path) -> dict[str, Path]:
    """One collection in every way that Parquet holds one."""
    table = long_table(queries=30)
    own = ["search_id", "search_term", "asin", "description", "bm25"]
    return {
        "sorted": write(tmp_path / "sorted.parquet", table),
        "files": write_parts(tmp_path / "day 1 [v2] é#.parquet", table, 3),
        "nested": write(tmp_path / "nested.parquet", nested_table(table)),
        "scattered": write(tmp_path / "scattered.parquet", scattered(table)),
        "aliases": write(tmp_path / "a.parquet", table.rename_columns(
            ["qid", "question", "docno", "passage", "score"])),
        "own names": write(tmp_path / "own.parquet", table.rename_columns(own)),
    }  # fmt: skip


LAYOUTS = ("sorted", "files", "nested", "scattered", "aliases", "own names")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_init_writes_a_job_that_starts(layouts: dict, layout: str, tmp_path: Path) -> None:
    made = rerank("init", layouts[layout], "--output", tmp_path / "out", "--model", "lexical")
    assert made.exit_code == 0, made.output
    job = load_config(JobConfig, made.stdout)
    assert job.input.path == (str(layouts[layout]),)
    assert job.output.path == str(tmp_path / "out")
    assert job.input.order == ("scattered" if layout == "scattered" else "grouped")
    assert bool(job.input.columns) == (layout == "own names")
    file = tmp_path / "job.yaml"
    file.write_text(made.stdout, encoding="utf-8")
    looked = rerank("run", "-c", file, "--dry-run")
    assert looked.exit_code == 0, looked.output


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inspect_says_whether_a_run_would_start(layouts: dict, layout: str) -> None:
    found = rerank("inspect", layouts[layout], "--model", "lexical")
    starts = layout != "own names"
    assert found.exit_code == (0 if starts else 3), found.output
    lines = found.stdout.splitlines()
    assert lines[-1].startswith("verdict     `rerank run` would " + "not " * (not starts))
    folder = str(layouts[layout].parent)  # which may be wider, and is not cut
    assert all(len(line) < 80 for line in lines if folder not in line)


def test_init_of_candidates_by_reference(tmp_path: Path) -> None:
    texts = {"run.trec": "1 Q0 d1 1 2.5 bm25\n", "c.tsv": "d1\ta text\n", "q.tsv": "1\ta query\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    run, corpus, queries = (tmp_path / name for name in texts)
    words = (run, "--corpus", corpus, "--queries", queries, "--model", "lexical")
    assert "corpus      " in rerank("inspect", *words).stdout
    job = load_config(JobConfig, rerank("init", *words).stdout)
    assert job.input.path == (str(run),)
    assert job.input.corpus == (str(corpus),)
    assert job.input.queries == (str(queries),)
    alone = rerank("init", run)
    assert alone.exit_code == 3
    assert "input.queries" in alone.stderr


def test_init_of_a_beir_folder_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_text("1 Q0 d1 1 2.5 bm25\n")
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "a text"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "a query"}\n')
    made = rerank("init", tmp_path, "--model", "lexical")
    assert made.exit_code == 0, made.output
    job = load_config(JobConfig, made.stdout)
    assert job.input.path == (str(tmp_path),)
    assert job.input.corpus is None


def test_text_and_json_have_the_same_figures(layouts: dict) -> None:
    words = ("inspect", layouts["sorted"], "--model", "lexical")
    facts = json.loads(rerank(*words, "--json").stdout)
    text = rerank(*words).stdout
    assert f"queries     {facts['queries']['count']:,} (by all query ids)" in text
    assert f"candidates  {facts['candidates']['count']:,} (by the footers)" in text
    characters = facts["contents"]["texts"]["characters"]
    assert f"min {characters['min']:,}, median {characters['median']:,.0f}" in text
    assert all(f" {count:,}\n" in text for *_, count in characters["histogram"])


def test_a_sick_file_among_healthy_ones(layouts: dict) -> None:
    bad = layouts["files"] / "zz.parquet"
    bad.write_bytes(b"query\tdoc\tscore\n")
    found = rerank("inspect", layouts["files"], "--model", "lexical")
    assert found.exit_code == 3
    assert "1 left out, see below" in found.stdout
    assert "zz.parquet" in found.stdout.split("refused")[1]
    made = rerank("init", layouts["files"])
    assert made.exit_code == 3
    assert made.stdout == ""


def test_what_is_in_the_data_stays_text(tmp_path: Path) -> None:
    hostile = "\x1b[31mred\x1b[0m\n[bold]x[/bold] https://user:pass@host"
    table = pa.table({
        "query_id": [hostile] * 4, "query": ["a"] * 4, "doc_id": [hostile, hostile, "b", "c"],
        "text": ["t", "t", None, "t"], hostile: ["x"] * 4,
    })  # fmt: skip
    path = write(tmp_path / "a.parquet", table)
    for words in ((), ("--json",)):
        found = rerank("inspect", path, "--model", "lexical", *words)
        assert found.exit_code == 0, found.output
        assert "\x1b" not in found.stdout
        assert "user:pass" not in found.stdout
        assert "[bold]" in found.stdout
    assert "\\x1b[31mred" in rerank("inspect", path, "--model", "lexical").stdout
    made = rerank("init", path, "--model", "lexical", "--output", tmp_path / "o")
    assert "\x1b" not in made.stdout
    load_config(JobConfig, made.stdout)


def test_nothing_heavy_is_imported_and_nothing_is_written(layouts: dict, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from pipeline.cli import app\n"
        "for command in ('inspect', 'init'):\n"
        "    result = CliRunner().invoke(app, [command, sys.argv[1]])\n"
        "    assert result.exit_code == 0, result.output\n"
        "heavy = {'torch', 'transformers', 'ray', 's3fs'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(layouts["sorted"])],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nothing.parquet"], 4, "no file found"),
        (["a.parquet", "--set", "input.colums.query=q"], 2, "colums"),
        (["a.parquet", "--sample", "0"], 2, "--sample"),
    ],
)
def test_what_is_no_matter_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(long_table(), "a.parquet")
    found = rerank("inspect", *words)
    assert found.exit_code == code
    assert told in found.output
