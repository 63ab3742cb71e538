"""What a run makes of input that is wrong: an error of the right class, or every row accounted for.

In-process mode, one job per case; reading is the same code in a worker of Ray.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import JobConfig
from pipeline.errors import InputContractError, QuarantineError
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import run_state
from tests import hostile
from tests.fixtures_runs import Rerank, ranked
from tests.hostile import declared, write_declared


def run(tmp_path: Path, path: Path | list[Path], **sections: Any) -> Outcome:
    paths = [str(one) for one in path] if isinstance(path, list) else str(path)
    config: dict[str, Any] = {
        "model": {"name": "lexical"},
        "input": {"path": paths, **sections.pop("input", {})},
        "output": {"path": str(tmp_path / "runs"), **sections.pop("write", {})},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
        "quarantine": {"max_error_rate": 1.0, "max_unit_error_rate": 1.0},
    }
    return execute(prepare(JobConfig.model_validate(config | sections)))


def long(**columns: Any) -> pa.Table:
    rows = {"query_id": ["a", "a", "b"], "query": ["x", "x", "y"], "doc_id": ["1", "2", "3"]}
    return pa.table(rows | {"text": ["t", "u", "v"]} | columns)


def nested(candidates: Any, **columns: Any) -> pa.Table:
    count = len(candidates)
    ids = {"query_id": [f"q{i}" for i in range(count)], "query": ["x"] * count}
    return pa.table(ids | {"candidates": candidates} | columns)


CANDIDATE = {"doc_id": "1", "text": "t"}

TWICE = pa.StructArray.from_arrays([pa.array(["x"])] * 3, names=["doc_id", "text", "text"])
LISTS = pa.list_(pa.struct([("doc_id", pa.string()), ("text", pa.string())]))

BAD: dict[str, tuple[pa.Table, str]] = {
    "score text": (long(score=["1", "n/a", "2"]), r"row 1: column 'score' \(taken .*'n/a'"),
    "score list": (long(score=[[1.0]] * 3), "'score' holds list.*taken as first_stage_score"),
    "score struct": (long(first_stage_score=[{"a": 1}] * 3), "holds struct"),
    "score bool": (long(first_stage_score=[True] * 3), "holds bool"),
    "rank fraction": (long(rank=[1.0, 2.0, 1.5]), "row 2: column 'rank'.*1.5"),
    "rank overflow": (long(first_stage_rank=[1, 2**40, 3]), "row 1: .*1099511627776"),
    "rank infinite": (long(first_stage_rank=[1.0, float("inf"), 2.0]), "row 1: .*inf"),
    "rank text": (long(first_stage_rank=["1", "2", "third"]), "row 2: .*'third'"),
    "query struct": (long(query=[{"a": 1}] * 3), "'query' holds struct.*expected text"),
    "query list": (long(query=[["a"]] * 3), "'query' holds list.*expected text"),
    "query integer": (long(query=[1, 2, 3]), "'query' holds int64, expected text.*CAST"),
    "text integer": (long(text=[1, 2, 3]), "'text' holds int64, expected text"),
    "ids float": (long(doc_id=[1.0, 2.0, 3.0]), "'doc_id' holds double; ids must be"),
    "ids decimal": (long(doc_id=pa.array([1, 2, 3], pa.decimal128(38, 2))), "CAST.* AS BIGINT"),
    "ids list": (long(query_id=[["a"]] * 3), "'query_id' holds list"),
    "ids not UTF-8": (long(doc_id=[b"1", b"\xff", b"3"]), r"row 1: column 'doc_id' holds b'\\xff'"),
    "ids of 16 bytes": (long(doc_id=pa.array([b"0" * 16] * 3, pa.binary(16))), "fixed_size_binary"),
    "image integer": (long(image=[1, 2, 3]), "'image' holds int64, expected images"),
    "image list": (long(image=[["x"]] * 3), "'image' holds list"),
    "image struct": (long(image=[{"url": "x"}] * 3), "'image' holds struct"),
    "query image": (long(query_image=[1, 2, 3]), "'query_image' holds int64"),
    "twice": (pa.table([*long().columns, long()["text"]], [*long().column_names, "text"]), "twice"),
    "twice inside": (nested(pa.ListArray.from_arrays([0, 1], TWICE)), "'text' stands twice"),
    "list of strings": (nested([["a", "b"]]), "'candidates' is a list of strings.*list_transform"),
    "list of integers": (nested([[1, 2]]), "'candidates' is a list<"),
    "struct of lists": (nested([{"text": ["t"]}]), "is a struct of lists.*@position"),
    "map": (nested(pa.array([[("1", "t")]], pa.map_(pa.string(), pa.string()))), "is a map"),
    "no rows": (long().slice(0, 0), "no rows in 1 file.*input.allow_empty"),
    "no candidates": (nested(pa.array([[], None], LISTS)), "none of 2 queries has a candidate"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_cast_ends_the_run_by_name(tmp_path: Path, kind: str) -> None:
    table, message = BAD[kind]
    path = tmp_path / "bad.parquet"
    pq.write_table(table, path)
    with pytest.raises(InputContractError, match=rf"bad\.parquet.*{message}"):
        run(tmp_path, path)
    assert not (tmp_path / "runs" / "LATEST.json").exists()


ROLES = ("query_id", "doc_id", "query", "text", "title", "image", "query_image", "kept")


@pytest.mark.parametrize("layout", ["long", "nested"])
@pytest.mark.parametrize("role", ROLES)
def test_an_extension_type_in_any_column_that_is_read_ends_the_run(
    tmp_path: Path, role: str, layout: str
) -> None:
    marker = tmp_path / "marker"
    data = hostile.payload(marker)
    plain = {name: pa.field(name, pa.string()) for name in ("query_id", "query", "doc_id", "text")}
    fields = plain | {role: declared(role, pa.large_binary())}
    values = {name: data if name == role else "x" for name in fields}
    if layout == "nested":
        outer = ("query_id", "query", "query_image")
        inner = [field for name, field in fields.items() if name not in outer]
        lists = pa.list_(pa.struct(inner))
        table = pa.table(
            [pa.array([values[f.name]], f.type) for n, f in fields.items() if n in outer]
            + [pa.array([[{f.name: values[f.name] for f in inner}]], lists)],
            pa.schema([*(f for n, f in fields.items() if n in outer), ("candidates", lists)]),
        )
    else:
        table = pa.table(
            [pa.array([values[name]], field.type) for name, field in fields.items()],
            pa.schema(list(fields.values())),
        )
    path = write_declared(tmp_path / "evil.parquet", table)
    write = {"columns": ["kept"]} if role == "kept" else {}
    with pytest.raises(InputContractError, match=rf"{role}' is of the extension type 'ray\.data"):
        run(tmp_path, path, write=write)
    assert not marker.exists()


def test_a_column_that_is_not_read_may_hold_anything(tmp_path: Path) -> None:
    fields = [*long().schema, declared("evil", pa.large_binary())]
    data = pa.array([hostile.payload(tmp_path / "marker")] * 3, pa.large_binary())
    table = pa.table([*long().columns, data], pa.schema(fields))
    outcome = run(tmp_path, write_declared(tmp_path / "some.parquet", table))
    assert outcome.manifest["documents"] == 3
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("where", ["in_process", "ray"])
def test_a_bomb_ends_the_run(tmp_path: Path, where: str, request: pytest.FixtureRequest) -> None:
    path = hostile.dictionary_bomb(tmp_path / "bomb.parquet")
    start: Callable[..., Outcome] = lambda: run(tmp_path, path)  # noqa: E731
    if where == "ray":
        rerank: Rerank = request.getfixturevalue("rerank")
        start = lambda: rerank(path)  # noqa: E731
    with pytest.raises(InputContractError, match=r"bomb\.parquet.*input\.max_expansion = 100"):
        start()


def test_a_limit_that_is_raised_lets_a_file_pass(tmp_path: Path) -> None:
    path = hostile.dictionary_bomb(tmp_path / "large.parquet", rows=140)
    with pytest.raises(InputContractError, match="max_expansion"):
        run(tmp_path, path)
    outcome = run(tmp_path, path, input={"max_expansion": 1e6})
    assert outcome.manifest["documents"] == 140


def test_a_query_value_that_is_copied_to_many_candidates_counts_as_often(tmp_path: Path) -> None:
    path = hostile.repeating_bomb(tmp_path / "bomb.parquet")
    with pytest.raises(InputContractError, match="max_expansion"):
        run(tmp_path, path, write={"columns": ["note"]})


def quarantine(outcome: Outcome) -> list[tuple[str | None, str | None, str]]:
    files = sorted(Path(outcome.folder).glob("quarantine/*.parquet"))
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    return [(row["query_id"], row["doc_id"], row["reason"]) for row in rows]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_files_whose_lists_all_lack_candidates_are_counted(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    wide = pa.list_(pa.struct([("doc_id", pa.int64()), ("text", pa.string()), ("kept", pa.int8())]))
    parts = [
        nested(pa.array([[{"doc_id": 1, "text": "t", "kept": 7}], [None], []], wide)),
        nested(pa.nulls(2)),  # as pandas writes lists of which none has an item
        nested(pa.array([[], None, [None, None]], pa.large_list(pa.null()))),
    ]
    paths = []
    for place, part in enumerate(order):
        ids = pa.array([f"{part}-{i}" for i in range(len(parts[part]))])
        paths.append(tmp_path / f"{place}.parquet")
        pq.write_table(parts[part].set_column(0, "query_id", ids), paths[-1])
    manifest = (outcome := run(tmp_path, paths, write={"columns": ["kept"]})).manifest
    assert (manifest["queries"], manifest["documents"], manifest["quarantined"]) == (8, 4, 3)
    assert manifest["reasons"] == {"no_candidates": 5, "null_doc_id": 3}
    assert ranked(outcome)["kept"].to_pylist().count(7) == 1


def test_a_limit_counts_a_query_once_however_its_id_is_stored(tmp_path: Path) -> None:
    ids = [uuid.UUID(int=i) for i in (1, 1, 2)]
    raw = [one.bytes for one in (ids[2], ids[2], uuid.UUID(int=3))]
    tables = [
        long(query_id=[str(one) for one in ids], query=["x"] * 3),
        long(query_id=pa.array(raw, pa.uuid()), query=["x"] * 3, doc_id=["4", "5", "6"]),
    ]
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path)
    for limit, documents in ((1, 2), (2, 5), (3, 6)):
        manifest = run(tmp_path, paths, limit=limit).manifest
        assert (manifest["queries"], manifest["documents"]) == (limit, documents)
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"a", b"\xff"]).buffers())
    pq.write_table(long(query_id=bad), paths[0])
    with pytest.raises(InputContractError, match=r"0\.parquet, row 2: column query_id"):
        run(tmp_path, paths[0], limit=2)


def test_columns_of_views_and_lists_of_a_fixed_size_are_copied(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    columns: dict[str, pa.Array] = {
        "view": pa.array(["a", None, "c" * 20], pa.string_view()),
        "bytes": pa.array([b"a", None, b"c"], pa.binary_view()),
        "list": pa.array([["a"], None, []], pa.list_view(pa.string())),
        "fixed": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2)),
    }
    pq.write_table(long(**columns), path)
    outcome = run(tmp_path, path, write={"columns": list(columns)})
    found = {row["doc_id"]: row for row in ranked(outcome).to_pylist()}
    assert {name: [found[i][name] for i in "123"] for name in columns} == {
        name: values.to_pylist() for name, values in columns.items()
    }


def test_a_null_list_is_not_filled_up_to_a_claimed_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    plain = pa.array([None, [CANDIDATE]], LISTS)
    claimed = nested(plain).schema.set(
        2, pa.field("candidates", pa.list_(LISTS.value_type, 2**31 - 1))
    )
    claim = base64.b64encode(claimed.serialize().to_pybytes())
    with pq.ParquetWriter(path, nested(plain).schema, store_schema=False) as writer:
        writer.write_table(nested(plain))
        writer.add_key_value_metadata({"ARROW:schema": claim})
    assert pq.read_schema(path).equals(claimed)
    manifest = run(tmp_path, path).manifest
    assert (manifest["queries"], manifest["documents"]) == (2, 1)


def test_a_column_is_copied_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"output\.columns names 'query' twice"):
        run(tmp_path, tmp_path, write={"columns": ["query", "query"]})


def test_queries_without_candidates_are_counted_and_set_aside(tmp_path: Path) -> None:
    lists = pa.array([[CANDIDATE], None, [], [None, CANDIDATE], [], []], LISTS)
    ids = pa.array(["a", "b", "c", "d", None, "e"])
    path = tmp_path / "some.parquet"
    pq.write_table(nested(lists, query_id=ids), path, row_group_size=2)
    outcome = run(tmp_path, path, units={"documents": 2})
    manifest = outcome.manifest
    assert (manifest["queries"], manifest["documents"], manifest["quarantined"]) == (6, 3, 1)
    assert manifest["reasons"] == {"no_candidates": 4, "null_doc_id": 1}
    assert sorted(quarantine(outcome), key=str) == sorted(
        [
            ("b", None, "no_candidates"),
            ("c", None, "no_candidates"),
            ("d", None, "null_doc_id"),
            (None, None, "no_candidates"),
            ("e", None, "no_candidates"),
        ],
        key=str,
    )
    assert set(ranked(outcome)["query_id"].to_pylist()) == {"a", "d"}
    state = run_state(RunFolder(outcome.folder))
    assert (state["queries"], state["quarantined"]) == (6, 1)
    assert state["reasons"] == manifest["reasons"]
    files = [file["key"] for unit in manifest["units"] for file in unit["files"]]
    on_disk = {str(p.relative_to(outcome.folder)) for p in Path(outcome.folder).glob("*/unit-*")}
    assert set(files) == on_disk


def test_a_run_of_empty_lists_is_resumed_to_the_same_files(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    pq.write_table(nested(pa.array([[], [CANDIDATE], [], []], LISTS)), path, row_group_size=1)
    outcome = run(tmp_path, path, units={"documents": 1})
    folder = Path(outcome.folder)
    before = {p.name: p.read_bytes() for p in folder.glob("*/unit-*")}
    manifest = (folder / "manifest.json").read_bytes()
    for name in ("_SUCCESS", "manifest.json"):
        (folder / name).unlink()
    for lost in sorted(folder.glob("ranked/unit-*"))[:2]:
        lost.unlink()
    for lost in sorted(folder.glob("quarantine/unit-*"))[:1]:
        lost.unlink()
    run(tmp_path, path, units={"documents": 1})
    assert {p.name: p.read_bytes() for p in folder.glob("*/unit-*")} == before
    assert (folder / "manifest.json").read_bytes() == manifest


def test_empty_lists_do_not_count_as_errors(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    strict = {"max_error_rate": 0.0, "max_unit_error_rate": 0.0}
    pq.write_table(nested(pa.array([[CANDIDATE], [], []], LISTS)), path)
    assert run(tmp_path, path, quarantine=strict).manifest["queries"] == 3
    pq.write_table(nested(pa.array([[CANDIDATE, None], [], []], LISTS)), path)
    with pytest.raises(QuarantineError, match=r"1 of 2 candidates.*\(null_doc_id 1\)"):
        run(tmp_path, path, quarantine=strict)


def test_a_query_that_is_twice_is_named_even_where_its_lists_are_empty(tmp_path: Path) -> None:
    lists = pa.array([[], [CANDIDATE], [], [CANDIDATE]], LISTS)
    path = tmp_path / "twice.parquet"
    pq.write_table(nested(lists, query_id=["a", "b", "c", "a"]), path, row_group_size=1)
    with pytest.raises(InputContractError, match="query_id 'a' stands in two separate places"):
        run(tmp_path, path, units={"documents": 1}, input={"path": str(path), "order": "grouped"})


def test_a_limit_counts_queries_without_candidates(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    pq.write_table(nested(pa.array([[], [CANDIDATE], [CANDIDATE]], LISTS)), path)
    manifest = run(tmp_path, path, limit=2).manifest
    assert (manifest["queries"], manifest["documents"]) == (2, 1)


@pytest.mark.parametrize("layout", ["long", "nested"])
def test_an_input_without_candidates_is_published_where_that_is_allowed(
    tmp_path: Path, layout: str
) -> None:
    path = tmp_path / "none.parquet"
    table = long().slice(0, 0) if layout == "long" else nested(pa.array([[]], LISTS))
    pq.write_table(table, path)
    outcome = run(tmp_path, path, input={"allow_empty": True})
    assert outcome.manifest["documents"] == 0
    assert (tmp_path / "runs" / "LATEST.json").exists()
