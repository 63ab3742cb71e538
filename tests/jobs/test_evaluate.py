"""`rerank evaluate` on TREC runs and on a run of ours: what it says it did not see."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pipeline.commands import app
from pipeline.storage.parquet import to_bytes
from tests.makers import long_table
from tests.refresh.changes.runs import rows_of, run_of

GRADES = {f"q00{query}": {f"d{doc}": (doc + query) % 3 for doc in range(4)} for query in range(4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    rows = [(q, d, g) for q, docs in GRADES.items() for d, g in docs.items()]
    (folder / "qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, d, g in rows))
    (folder / "upper").write_text("".join(f"{q.upper()} 0 {d} {g}\n" for q, d, g in rows))
    columns = dict(zip(("query-id", "corpus-id", "score"), zip(*rows, strict=True), strict=True))
    table = pa.table({name: list(values) for name, values in columns.items()})
    (folder / "qrels.parquet").write_bytes(to_bytes(table))
    lines = [
        f"{query} Q0 {doc} {rank} {-rank} x"
        for query, docs in [*list(GRADES.items())[1:], ("q9", {"d": 1})]
        for rank, doc in enumerate(docs, start=1)
    ]
    (folder / "run.txt").write_text("\n".join(lines))
    return folder


def evaluate(folder: Path, run: str, qrels: str, *words: str, code: int = 0) -> str:
    given = ["evaluate", str(folder / run), "--qrels", str(folder / qrels), *words]
    done = CliRunner().invoke(app, given, env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.output


def test_what_was_not_seen_is_said(folder: Path) -> None:
    told = evaluate(folder, "run.txt", "qrels").splitlines()
    assert "run.txt: holds lists of 3 of 4 judged queries" in told
    assert "run.txt: in them 12 of 12 judged documents, 8 of 8 relevant ones" in told
    assert "run.txt: 1 of 4 judged queries is not in it and counts as 0, such as 'q000'" in told
    assert "run.txt: 1 query without judgements is left out" in told


def test_parquet_gives_what_text_gives(folder: Path) -> None:
    [text, parquet] = (
        json.loads(evaluate(folder, "run.txt", name, "--json"))
        for name in ("qrels", "qrels.parquet")
    )
    assert text == parquet
    [run] = text["joined"]["runs"]
    assert (run["absent"], run["others"], run["relevant_found"]) == (["q000"], 1, 8)


def test_ids_of_another_case_are_refused(folder: Path) -> None:
    told = evaluate(folder, "run.txt", "upper", code=3)
    assert "none of its queries (4) is judged" in told
    assert "3 differ by letter case alone, such as 'Q001' in the judgements and 'q001'" in told
    run = folder / "run.txt"
    (folder / "upper-run").write_text(run.read_text().replace("q0", "Q0"))
    told = evaluate(folder, "run.txt", "qrels", "--baseline", str(folder / "upper-run"), code=3)
    assert "run 'upper-run': none of its queries (4) is judged" in told


def test_of_a_run_of_ours_the_lists_of_judged_queries_are_read(
    folder: Path, tmp_path: Path
) -> None:
    run = run_of(tmp_path, long_table(queries=30, documents=12))
    found = json.loads(evaluate(folder, run.path, "qrels", "--json"))
    assert [each["run"] for each in found["evaluations"]] == ["first stage", "reranked"]
    assert all(each["unjudged_queries"] == 26 for each in found["evaluations"])
    [joined] = found["joined"]["runs"]
    assert (joined["queries"], joined["absent"], joined["others"]) == (4, [], 26)
    rows = [row for row in rows_of(run) if row["doc_id"] in GRADES.get(row["query_id"], ())]
    assert joined["judged_found"] == len(rows)
    assert "reranked: 26 queries without judgements are left out" in evaluate(
        folder, run.path, "qrels"
    )
