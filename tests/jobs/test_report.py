"""``rerank report``: pages of a run as people ask for them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pipeline.commands import app
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["report", *map(str, words)], env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.stdout


def ran(folder: Path, table: pa.Table, **sections: Any) -> Path:
    path = write(folder / "in.parquet", table)
    job = JobConfig.model_validate(lexical_job(path, str(folder / "out"), **sections))
    return Path(execute(prepare(job)).folder)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return long_table(queries=30, documents=12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> Path:
    return ran(tmp_path_factory.mktemp("run"), table)


@pytest.fixture(scope="module")
def qrels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qrels") / "qrels.txt"
    path.write_text("".join(f"q{q:03d} 0 d{q % 3} 1\n" for q in range(20)))
    return path


def test_a_page_is_put_into_the_run_or_where_it_is_wanted(run: Path, tmp_path: Path) -> None:
    assert f"report     {run}/report.html" in call(run)
    here = tmp_path / "page.html"
    call(run.parent, "--output", here)
    assert here.read_text().startswith("<!doctype html>")
    assert CliRunner().invoke(app, ["status", str(run), "--check"]).exit_code == 0


def test_judgements_give_measures_wins_losses_and_examples_with_texts(
    run: Path, qrels: Path, table: pa.Table
) -> None:
    found = json.loads(call(run, "--qrels", qrels, "--measure", "RR@10", "--json"))
    evaluation = found["evaluation"]
    assert evaluation["measure"] == "RR@10"
    assert len(evaluation["changes"]) == 20
    assert [each["run"] for each in evaluation["evaluations"]] == ["first stage", "reranked"]
    assert {each["unjudged_queries"] for each in evaluation["evaluations"]} == {10}
    assert evaluation["unseen"][-1] == "10 queries without judgements are left out"
    wins, losses = evaluation["wins"], evaluation["losses"]
    assert all(query["after"] > query["before"] for query in wins)
    assert all(query["after"] < query["before"] for query in losses)
    examples = found["examples"]
    assert {e["query_id"] for e in examples} <= {q["query_id"] for q in [*wins, *losses]}
    rows = {(row["query_id"], row["doc_id"]): row for row in table.to_pylist()}
    for example in examples:
        for document in [*example["first_stage"], *example["reranked"]]:
            row = rows[example["query_id"], document["doc_id"]]
            assert (example["query"], document["text"]) == (row["query"], row["text"])
    ids = json.loads(call(run, "--qrels", qrels, "--no-texts", "--json"))["examples"]
    assert {d["text"] for e in ids for d in e["reranked"]} == {None}


def test_a_run_beside_another_one(run: Path, table: pa.Table, tmp_path: Path) -> None:
    """The other run lacks queries, and has the documents of one query in another order."""
    turned = table.to_pylist()
    first = [row for row in turned if row["query_id"] == "q000"]
    for row, text in zip(first, [row["text"] for row in first][::-1], strict=True):
        row["text"] = text
    fewer = [row for row in turned if row["query_id"] < "q020"]
    other = ran(tmp_path, pa.Table.from_pylist(fewer))
    found = json.loads(call(run, "--compare", other, "--json"))["comparison"]
    assert (found["lists"], found["only_here"]) == (20, 10)
    assert found["documents"] == {"both": len(fewer), "new": 0, "gone": 0}
    assert sum(found["overlap"]) == 20
    assert {row["query_id"] for row in found["movers"]} == {"q000"}
    moved = [abs(row["after"] - row["before"]) for row in found["movers"]]
    assert moved == sorted(moved, reverse=True)
    same = json.loads(call(run, "--compare", run, "--json"))["comparison"]
    assert (same["first_kept"], same["new_in_ten"], same["movers"]) == (1.0, 0.0, [])
    assert same["rbo"] == pytest.approx(1.0)


def test_documents_without_an_id_leave_no_gap_in_an_order(tmp_path: Path) -> None:
    rows = long_table(queries=6, documents=4).to_pylist()
    for row in rows[::3]:
        row["doc_id"] = None
    broken = pa.Table.from_pylist(rows, schema=long_table(queries=1).schema)
    run = ran(tmp_path, broken, quarantine={"max_error_rate": 1.0, "max_unit_error_rate": 1.0})
    same = json.loads(call(run, "--compare", run, "--json"))["comparison"]
    assert same["rbo"] == pytest.approx(1.0)
    assert (same["first_kept"], same["new_in_ten"]) == (1.0, 0.0)


def test_texts_that_are_gone_are_said_and_ids_are_shown(table: pa.Table, tmp_path: Path) -> None:
    here = ran(tmp_path, table)
    (tmp_path / "in.parquet").unlink()
    found = json.loads(call(here, "--json"))
    assert "in.parquet" in found["examples_note"]
    assert found["examples"][0]["query"] is None
    write(tmp_path / "in.parquet", table.slice(1))
    os.utime(tmp_path / "in.parquet")
    assert "is not what the run was made of" in json.loads(call(here, "--json"))["examples_note"]


def test_texts_that_a_run_copied_are_taken_from_it(table: pa.Table, tmp_path: Path) -> None:
    output = {"path": str(tmp_path / "out"), "columns": ["text"]}
    here = ran(tmp_path, table, output=output)
    (tmp_path / "in.parquet").unlink()
    example = json.loads(call(here, "--json"))["examples"][0]
    assert example["query"] is None
    assert all(document["text"] for document in example["reranked"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--measure", "RR@10"], 2, "give both"),
        (["--json", "--output", "x.html"], 2, "give one of them"),
        (["--qrels", "{qrels}", "--measure", "best"], 2, "measure 'best' is unknown"),
        (["--compare", "/nowhere"], 4, "/nowhere"),
        (["--output", "/proc/none/page.html"], 5, "/proc/none"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    run: Path, qrels: Path, words: list[str], code: int, said: str
) -> None:
    done = CliRunner().invoke(
        app, ["report", str(run), *(word.format(qrels=qrels) for word in words)]
    )
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_other_queries_are_refused(run: Path, tmp_path: Path) -> None:
    qrels = tmp_path / "qrels"
    qrels.write_text("elsewhere 0 d1 1\n")
    done = CliRunner().invoke(app, ["report", str(run), "--qrels", str(qrels)])
    assert done.exit_code == 3
    assert "none of its queries (30) is judged" in done.stderr
    table = long_table(queries=2)
    ids = pa.array([f"other-{value}" for value in table.column("query_id").to_pylist()])
    other = ran(tmp_path, table.set_column(0, "query_id", ids))
    done = CliRunner().invoke(app, ["report", str(run), "--compare", str(other)])
    assert done.exit_code == 3
    assert "compare runs of the same queries" in done.stderr


def test_a_damaged_unit_is_left_out_of_a_page_and_not_of_measures(
    table: pa.Table, qrels: Path, tmp_path: Path
) -> None:
    run = ran(tmp_path, table, units={"documents": 60})
    damaged = sorted((run / "ranked").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    found = json.loads(call(run, "--json"))
    assert found["results"]["sample"]["unreadable"] == 1
    assert found["examples"]
    assert call(run, "--qrels", qrels, "--json", code=4) == ""
