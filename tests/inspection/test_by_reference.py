"""Text formats and candidates that are ids: the same figures as of the same lists in Parquet."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from pipeline.config import JobConfig, load_config
from pipeline.inspection.inspect import inspect
from pipeline.reports.inspection import inspection_lines
from tests.makers import long_table, write

TABLE = long_table(queries=30)
#: Documents have one text each, whatever list they stand in.
DOCUMENTS = {f"d{n}": f"title {n} and what the document says" for n in range(7)}
ROWS = TABLE.select(["query_id", "query", "doc_id", "first_stage_score"]).to_pylist()
QUERIES = {row["query_id"]: row["query"] for row in ROWS}


def job(path: Path, **settings: Any) -> JobConfig:
    given = {"path": [str(path)]} | {name: str(value) for name, value in settings.items()}
    data = {"model": {"name": "lexical"}, "input": given, "output": {"path": "out"}}
    return load_config(JobConfig, data)


def as_long(folder: Path) -> JobConfig:
    texts = pa.array([DOCUMENTS[row["doc_id"]] for row in ROWS])
    return job(write(folder / "long.parquet", TABLE.set_column(3, "text", texts)))


def as_trec(folder: Path, rows: list[dict[str, Any]] = ROWS, extra: str = "") -> JobConfig:
    lines = [f"{r['query_id']} Q0 {r['doc_id']} 1 {r['first_stage_score']} bm25" for r in rows]
    (folder / "run.trec").write_text("\n".join(lines) + f"\n{extra}")
    (folder / "corpus.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in DOCUMENTS.items()))
    (folder / "queries.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in QUERIES.items()))
    beside = {"corpus": folder / "corpus.tsv", "queries": folder / "queries.tsv"}
    return job(folder / "run.trec", **beside)


def as_beir(folder: Path) -> JobConfig:
    as_trec(folder)
    for name in ("corpus.tsv", "queries.tsv"):
        (folder / name).unlink()
    corpus = [json.dumps({"_id": i, "text": t}) for i, t in DOCUMENTS.items()]
    queries = [json.dumps({"_id": i, "text": t}) for i, t in QUERIES.items()]
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(corpus).encode()))
    (folder / "queries.jsonl").write_text("\n".join(queries))
    return job(folder)


def as_ids(folder: Path) -> JobConfig:
    as_trec(folder)
    path = write(folder / "ids.parquet", TABLE.select(["query_id", "doc_id", "first_stage_score"]))
    beside = {"corpus": folder / "corpus.tsv", "queries": folder / "queries.tsv"}
    return job(path, **beside)


def as_lance(folder: Path) -> JobConfig:
    config = as_trec(folder)
    corpus = pa.table({"doc_id": [*DOCUMENTS, "gone"], "text": [*DOCUMENTS.values(), "deleted"]})
    lance.write_dataset(corpus, folder / "corpus.lance", max_rows_per_file=5)
    lance.dataset(folder / "corpus.lance").delete("doc_id = 'gone'")
    lance.write_dataset(
        TABLE.select(["query_id", "doc_id", "first_stage_score"]), folder / "run.lance"
    )
    given = {"path": (f"{folder}/run.lance",), "corpus": (f"{folder}/corpus.lance",)}
    return config.model_copy(update={"input": config.input.model_copy(update=given)})


@pytest.mark.parametrize("made", [as_trec, as_beir, as_ids, as_lance])
def test_figures_are_those_of_the_same_lists_in_parquet(
    tmp_path: Path, made: Callable[[Path], JobConfig]
) -> None:
    (tmp_path / "in").mkdir()
    found, wanted = inspect(made(tmp_path / "in")), inspect(as_long(tmp_path))
    assert found["starts"], found["refusals"]
    for key in ("queries", "candidates"):
        assert found[key]["count"] == wanted[key]["count"]
    per_query = [{**one["candidates_per_query"], "source": ""} for one in (found, wanted)]
    assert per_query[0] == per_query[1]
    assert found["order"] == wanted["order"]
    for key in ("texts", "query_texts", "first_stage_score", "not_scored", "share_not_scored"):
        assert found["contents"][key] == wanted["contents"][key], key
    assert found["corpus"]["rows"] == len(DOCUMENTS)
    assert found["corpus"]["missing_ids"] == found["queries_source"]["missing_ids"] == 0


def test_versions_of_lance_tables_are_told(tmp_path: Path) -> None:
    facts = inspect(as_lance(tmp_path))
    [run], [corpus] = facts["input"]["tables"], facts["corpus"]["tables"]
    assert (run["version"], run["rows"], run["deleted_rows"]) == (1, len(ROWS), 0)
    assert corpus == {
        "path": f"{tmp_path}/corpus.lance",
        "version": 2,
        "rows": len(DOCUMENTS),
        "deleted_rows": 1,
        "fragments": 2,
    }
    assert facts["queries_source"]["tables"] == []
    lines = " ".join(" ".join(inspection_lines(facts)).split())
    assert "format lance, by reference" in lines
    assert f"version 2 of {tmp_path}/corpus.lance: 7 rows, 1 deleted, in 2 fragments" in lines


def test_what_is_missing_and_what_is_malformed(tmp_path: Path) -> None:
    known = {"first_stage_score": 1.0}
    rows = [
        *ROWS,
        {"query_id": "q998", "doc_id": "d1"} | known,
        {"query_id": "q999", "doc_id": "gone"} | known,
        {"query_id": "q999", "doc_id": "gone"} | known,
    ]
    facts = inspect(as_trec(tmp_path, rows, extra="no row at all\n"))
    assert facts["starts"]
    corpus, queries = facts["corpus"], facts["queries_source"]
    assert (corpus["missing_references"], corpus["missing_ids"]) == (2, 1)
    assert (queries["missing_references"], queries["missing_ids"]) == (2, 2)
    counts = {one["reason"]: one["count"] for one in facts["contents"]["not_scored"]}
    assert counts == {"missing_query": 3, "malformed_line": 1}
    assert any("input.corpus does not have: 1" in one for one in facts["warnings"])


def test_scattered_rows_are_found_with_their_places(tmp_path: Path) -> None:
    facts = inspect(as_trec(tmp_path, [*ROWS, ROWS[0] | {"doc_id": "d6"}]))
    assert facts["order"]["kind"] == "scattered"
    example = facts["order"]["example"]
    assert example["query_id"] == ROWS[0]["query_id"]
    assert example["first"]["row"] == 0  # a byte, in text
    data = (tmp_path / "run.trec").read_bytes()
    assert data[example["second"]["row"] :].startswith(b"q000 Q0 d6")
    assert facts["queries"]["count"] == len(QUERIES)
    assert facts["settings"]["input.order"] == "scattered"


def test_an_id_with_two_contents_is_refused_and_the_rest_is_told(tmp_path: Path) -> None:
    config = as_trec(tmp_path)
    with (tmp_path / "corpus.tsv").open("a") as file:
        file.write("d1\tanother text\nd2\t" + DOCUMENTS["d2"] + "\n")
    facts = inspect(config)
    assert not facts["starts"]
    [refusal] = facts["refusals"]
    assert "id 'd1' stands twice with different contents" in refusal["message"]
    assert facts["corpus"]["repeated"] == 2
    assert facts["candidates"]["count"] == len(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["corpus", "queries", "path"])
def test_what_stands_before_damage_is_told_beside_it(role: str, tmp_path: Path) -> None:
    """A file that is cut off after more than is looked at to tell what it is."""
    config = as_trec(tmp_path)
    plain = tmp_path / {"corpus": "corpus.tsv", "queries": "queries.tsv", "path": "run.trec"}[role]
    more = {
        "corpus": [f"d{n}\t{secrets.token_hex(40)}" for n in range(100, 70_000)],
        "queries": [f"q{n}\t{secrets.token_hex(40)}" for n in range(1_000, 70_000)],
        "path": [f"q{n} Q0 d{n % 7} 1 {n}.5 {secrets.token_hex(40)}" for n in range(1_000, 70_000)],
    }[role]
    packed = gzip.compress((plain.read_text() + "\n".join(more)).encode())
    (tmp_path / "cut.gz").write_bytes(packed[: -len(packed) // 10])
    update = {role: (f"{tmp_path}/cut.gz",)}
    facts = inspect(
        config.model_copy(update={"input": config.input.model_copy(update=update)}), sample=50
    )
    assert not facts["starts"]
    [refusal] = facts["refusals"]
    assert "cut.gz: the compressed file is cut off" in refusal["message"]
    for name in ("corpus", "queries_source"):
        damaged = name.partition("_")[0] == role
        assert (facts[name]["whole"], facts[name]["damaged"]) == (not damaged, damaged)
        assert facts[name]["rows"] > 5 + 10_000 * damaged
        assert (facts[name]["missing_ids"] is None) == damaged
    assert (facts["candidates"]["count"] is None) == (role == "path")
    assert facts["input"]["rows"] >= len(ROWS) + 10_000 * (role == "path")
    assert facts["contents"]["texts"]["characters"]["count"] > 0
    assert not any("too large" in warning for warning in facts["warnings"])
    assert any("cut off" in line for line in inspection_lines(facts))


def test_ids_alone_without_their_texts_are_refused(tmp_path: Path) -> None:
    config = as_trec(tmp_path)
    alone = config.model_copy(
        update={"input": config.input.model_copy(update={"corpus": None, "queries": None})}
    )
    facts = inspect(alone)
    assert not facts["starts"]
    assert "input.queries" in facts["refusals"][0]["message"]


def test_a_sample_of_many_rows(tmp_path: Path) -> None:
    facts = inspect(as_trec(tmp_path), sample=20)
    assert not facts["sample"]["whole"]
    assert facts["candidates"]["count"] == len(ROWS)
    assert facts["contents"]["texts"]["characters"]["count"] <= 20


def test_a_file_of_a_role_that_cannot_be_read_is_named_and_the_rest_is_told(tmp_path: Path) -> None:
    config = as_trec(tmp_path)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = (tmp_path / "corpus.tsv").read_text().splitlines(keepends=True)
    (corpus / "a.tsv").write_text("".join(lines[:4]))
    (corpus / "b.tsv").write_text("".join(lines[4:]))
    (corpus / "c.tsv").write_bytes(b"")
    (corpus / "d.tsv.gz").write_bytes(b"\x1f\x8b\x08 and no more of it")
    (corpus / "e.jsonl").write_text('{"_id": "d99", "text": "another format"}\n')
    update = {"corpus": (str(corpus),)}
    config = config.model_copy(update={"input": config.input.model_copy(update=update)})
    facts = inspect(config)
    assert not facts["starts"]
    refused = {Path(one["path"]).name: one["message"] for one in facts["refusals"]}
    assert set(refused) == {"d.tsv.gz", "e.jsonl"}
    assert "must be of one format" in refused["e.jsonl"]
    assert facts["corpus"]["rows"] == len(DOCUMENTS)
    assert facts["corpus"]["missing_ids"] == 0
    assert facts["candidates"]["count"] == len(ROWS)
