"""What an input is found to be, and that a run then starts or stops as it was said."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.reasons import DUPLICATE_DOCUMENT, INVALID_UTF8, NULL_TEXT, QUERY_MISMATCH
from pipeline.config import JobConfig, load_config
from pipeline.errors import NotFoundError, RerankError
from pipeline.execution.preparation import prepare
from pipeline.inspection.inspect import inspect
from tests.makers import long_table, nested_table, write, write_parts


def job(*paths: Path, **settings: Any) -> JobConfig:
    data = {
        "model": {"name": "lexical"},
        "input": {"path": [str(path) for path in paths]} | settings,
        "output": {"path": "out"},
    }
    return load_config(JobConfig, data)


def reasons_of(facts: dict[str, Any]) -> dict[str, int]:
    return {one["reason"]: one["count"] for one in facts["contents"]["not_scored"]}


def test_every_figure_of_a_small_input_is_exact(tmp_path: Path) -> None:
    table = long_table(queries=30, documents=9)
    folder = write_parts(tmp_path / "in", table, 4)
    facts = inspect(job(folder))
    counts = pc.value_counts(table.column("query_id")).field("counts").to_pylist()
    assert facts["starts"]
    assert facts["refusals"] == []
    assert facts["input"]["rows"] == table.num_rows
    assert facts["input"]["files"] == facts["input"]["files_read"] == 4
    assert facts["order"]["kind"] == "sorted"
    assert facts["queries"] == {"count": 30, "source": "query ids"}
    assert facts["candidates"]["count"] == table.num_rows
    per_query = facts["candidates_per_query"]
    assert (per_query["min"], per_query["max"]) == (min(counts), max(counts))
    assert sum(n for *_, n in per_query["histogram"]) == 30
    assert facts["sample"] == {"candidates": table.num_rows, "queries": 30, "whole": True}
    assert facts["contents"]["texts"]["characters"]["count"] == table.num_rows
    assert facts["contents"]["not_scored"] == []
    assert facts["settings"]["input.order"] == "grouped"
    prepare(job(folder))


def test_layouts_of_the_same_lists_have_the_same_figures(tmp_path: Path) -> None:
    table = long_table(queries=30, documents=9)
    shuffled = table.take(pa.array(random.Random(3).sample(range(len(table)), len(table))))
    found = [
        inspect(job(write(tmp_path / "a.parquet", table))),
        inspect(job(write(tmp_path / "b.parquet", nested_table(table)))),
        inspect(job(write(tmp_path / "c.parquet", shuffled, row_group_size=7))),
    ]
    assert [one["input"]["layout"] for one in found] == ["long", "nested", "long"]
    assert [one["order"]["kind"] for one in found] == ["sorted", "sorted", "scattered"]
    assert found[2]["settings"]["input.order"] == "scattered"
    assert "stand apart" in found[2]["warnings"][0]
    first, *others = ({**one["candidates_per_query"], "source": ""} for one in found)
    assert all(other == first for other in others)
    for key in ("texts", "first_stage_score", "not_scored"):
        assert all(one["contents"][key] == found[0]["contents"][key] for one in found[1:])


def test_what_would_not_be_scored_is_counted_by_reason(tmp_path: Path) -> None:
    rows = [
        ("q1", "one", "d1", b"text"),
        ("q1", "one", "d1", b"text"),
        ("q1", "other", "d2", b"text"),
        ("q1", "one", "d3", None),
        ("q2", "two", "d1", b"\xff"),
        ("q2", "two", "D1 ", b" "),
        ("q2", "two", "d4", b" "),
    ]
    names = ("query_id", "query", "doc_id", "text")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    facts = inspect(job(write(tmp_path / "a.parquet", pa.table(columns))))
    assert reasons_of(facts) == {
        DUPLICATE_DOCUMENT: 1, QUERY_MISMATCH: 1, NULL_TEXT: 1, INVALID_UTF8: 1,
    }  # fmt: skip
    [duplicate] = [
        one for one in facts["contents"]["not_scored"] if one["reason"] == DUPLICATE_DOCUMENT
    ]
    assert duplicate["examples"] == [{"query_id": "q1", "doc_id": "d1"}]
    assert facts["contents"]["share_not_scored"] == pytest.approx(4 / 7)
    assert facts["contents"]["texts"]["empty"] == 2
    assert facts["contents"]["texts"]["identical"] == 1
    assert facts["starts"]
    told = " ".join(facts["warnings"])
    for part in ("exit code 6", "empty or blank", "differ only by case", "white space"):
        assert part in told


def test_a_bad_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    table = long_table(queries=30)
    folder = write_parts(tmp_path / "in", table, 3)
    (folder / "part-001.parquet").write_bytes(b"PAR1 and nothing more")
    (folder / "part-005.parquet").write_bytes(b"")
    write(folder / "part-006.parquet", nested_table(table))
    write(folder / "part-007.parquet", table.drop_columns(["text"]))
    facts = inspect(job(folder))
    assert not facts["starts"]
    assert facts["input"]["files_read"] == 2
    told = {Path(one["path"]).name: one["message"] for one in facts["refusals"]}
    assert set(told) == {f"part-00{n}.parquet" for n in (1, 5, 6, 7)}
    assert facts["candidates"]["count"] < table.num_rows
    with pytest.raises(RerankError) as stopped:
        prepare(job(folder))
    assert str(stopped.value) in told.values()


def test_a_value_that_stops_a_run_is_found(tmp_path: Path) -> None:
    table = long_table(queries=5)
    score = pa.array(["n/a" if row == 3 else "1.5" for row in range(len(table))])
    table = table.set_column(4, "first_stage_score", score)
    facts = inspect(job(write(tmp_path / "a.parquet", table)))
    assert not facts["starts"]
    [refusal] = facts["refusals"]
    assert "row 3: column 'first_stage_score' holds 'n/a'" in refusal["message"]


def test_columns_and_how_each_was_found(tmp_path: Path) -> None:
    table = long_table(queries=5).rename_columns(["qid", "query", "pid", "body", "bm25"])
    table = table.append_column("title", table.column("body"))
    facts = inspect(
        job(write(tmp_path / "a.parquet", table), columns={"first_stage_score": "bm25"})
    )
    found = {one["name"]: (one["column"], one["found_by"]) for one in facts["columns"]}
    assert found == {
        "query_id": ("qid", "alias"),
        "query": ("query", "name"),
        "doc_id": ("pid", "alias"),
        "first_stage_score": ("bm25", "input.columns"),
        "title": ("title", "name"),
        "text": ("body", "alias"),
    }
    assert facts["unused_columns"] == []
    assert facts["settings"]["input.columns"] == {"first_stage_score": "bm25"}


def test_columns_that_are_guessed_are_proposed_and_not_taken(tmp_path: Path) -> None:
    table = long_table(queries=5).select([0, 1, 2, 3])
    table = table.rename_columns(["search_id", "search_term", "asin", "description"])
    path = write(tmp_path / "a.parquet", table)
    facts = inspect(job(path))
    assert not facts["starts"]
    assert "missing column 'query_id'" in facts["refusals"][0]["message"]
    assert facts["candidates"]["count"] == len(table)
    columns = facts["settings"]["input.columns"]
    assert inspect(job(path, columns=columns))["starts"]


def test_a_large_input_is_sampled_and_says_so(tmp_path: Path) -> None:
    table = long_table(queries=900, documents=9)
    path = write(tmp_path / "a.parquet", table, row_group_size=100)
    facts = inspect(job(path), sample=200)
    assert not facts["sample"]["whole"]
    assert 200 <= facts["sample"]["candidates"] < 700
    assert facts["queries"] == {"count": len(set(table.column("query_id").to_pylist())),
                                "source": "query ids"}  # fmt: skip
    assert facts["candidates"]["count"] == table.num_rows


def test_a_giant_is_named(tmp_path: Path) -> None:
    ids = ["giant"] * 3000 + [f"q{n}" for n in range(200)]
    one = pa.array(["text"] * len(ids))
    docs = pa.array([f"d{n}" for n in range(len(ids))])
    table = pa.table({"query_id": ids, "query": one, "doc_id": docs, "text": one})
    facts = inspect(job(write(tmp_path / "a.parquet", table)), sample=100)
    assert facts["giants"] == [{"query_id": "giant", "candidates": 3000}]
    assert any("'giant' alone has 3,000" in one for one in facts["warnings"])
    assert any("at most one candidate" in one for one in facts["warnings"])


def test_images_are_counted_by_where_they_are(tmp_path: Path) -> None:
    images = ["s3://b/a.png", "a/b.png", "/tmp/c.png", "https://h/d.png", None, "data:image/png,"]
    table = pa.table({
        "query_id": ["q"] * 6, "query": ["t"] * 6, "doc_id": list("abcdef"), "image": images,
    })  # fmt: skip
    facts = inspect(job(write(tmp_path / "a.parquet", table)))
    assert facts["contents"]["images"] == {
        "count": 5,
        "null": 1,
        "kinds": {
            "absolute path": 1, "data URI": 1, "https://": 1, "relative path": 1, "s3://": 1,
        },
    }  # fmt: skip
    inline = table.set_column(3, "image", pa.array([b"x", None] * 3))
    facts = inspect(job(write(tmp_path / "b.parquet", inline)))
    assert facts["contents"]["images"]["kinds"] == {"bytes": 3}
    struct = pa.array([{"bytes": None, "path": "a.png"}, {"bytes": b"x", "path": None}, None] * 2)
    facts = inspect(job(write(tmp_path / "c.parquet", table.set_column(3, "image", struct))))
    assert facts["contents"]["images"]["kinds"] == {"bytes": 2, "relative path": 2}


def test_nothing_there_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        inspect(job(tmp_path / "none.parquet"))
    path = tmp_path / "a.parquet"
    pq.write_table(long_table().slice(0, 0), path)
    facts = inspect(job(path))
    assert not facts["starts"]
    assert "no rows" in facts["refusals"][0]["message"]


def test_units_and_tokens_of_a_model(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", long_table(queries=40))
    config = load_config(
        JobConfig,
        {
            "model": {"name": "all-minilm-l6-v2"},
            "input": {"path": str(path)},
            "output": {"path": "out"},
            "replicas": {"num_gpus": 0},
        },
    )
    facts = inspect(config)
    plan = prepare(config).plan
    assert facts["units"]["units"] == len(plan.units)
    assert facts["units"]["tokens"]["max"] < 40
    unknown = config.model_copy(
        update={"model": config.model.model_copy(update={"name": "bge-reranker-v2-m3"})}
    )
    facts = inspect(unknown)
    assert facts["units"]["documents"] is None
    assert "cannot be built here" in facts["units"]["reason"]
    assert facts["starts"]
