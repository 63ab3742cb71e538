"""Changes in their folder: what is written comes back, and damage is told."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import DamagedRunError, InputContractError, NotFoundError
from pipeline.refresh.changes.folder import Changes, changes_path
from pipeline.refresh.changes.layout import Layout, layout_of
from pipeline.refresh.changes.part_files import read_part, write_manifest, write_part

LAYOUT = Layout(query_id=pa.string(), doc_id=pa.int64(), carried=(pa.field("lang", pa.string()),))
ROW = {
    "query_id": "q", "doc_id": 3, "change": "new", "rank": 1, "score": 0.5,
    "previous_rank": None, "previous_score": None, "reason": None, "lang": "de",
}  # fmt: skip
LIST = {"query_id": "q", "change": "new", "doc_ids": [3], "scores": [0.5]}
ABOUT = {"from": None, "to": {"run_id": "b", "manifest_sha256": "0" * 64}}


def written(path: str) -> Changes:
    rows = pa.Table.from_pylist([ROW], schema=LAYOUT.rows)
    lists = pa.Table.from_pylist([LIST], schema=LAYOUT.lists)
    parts = [write_part(path, 0, rows, lists, {"n": 1})]
    parts.append(write_part(path, 1, rows.slice(1), lists.slice(1), {"n": 0}))
    write_manifest(path, ABOUT, parts, {"n": 1})
    return Changes.open(path)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = changes_path(str(tmp_path), None, "b")
    changes = written(path)
    assert path.endswith("/_changes/none-b")
    assert (changes.before, changes.after) == (None, "b")
    first, second = changes.parts
    assert (first.number, first.count("rows"), second.count("lists")) == (0, 1, 0)
    assert first.rows().to_pylist() == [ROW]
    assert first.lists().to_pylist() == [LIST]
    assert second.rows().schema.equals(LAYOUT.rows)
    assert second.lists().schema.equals(LAYOUT.lists)
    assert read_part(path, 0) is not None
    assert read_part(path, 2) is None


def test_damage_is_told(tmp_path: Path) -> None:
    path = changes_path(str(tmp_path), "a", "b")
    with pytest.raises(NotFoundError, match="no changes here"):
        Changes.open(path)
    part = written(path).parts[0]
    file = Path(path) / "rows-00000.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedRunError, match="rows-00000"):
        part.rows()
    part.lists()
    written(path)
    part.rows()
    file.unlink()
    with pytest.raises(DamagedRunError, match="missing"):
        part.rows()
    (Path(path) / "manifest.json").write_text("{}")
    with pytest.raises(DamagedRunError, match=r"manifest\.json"):
        Changes.open(path)


def run(**further: pa.DataType) -> pa.Schema:
    ids = {"query_id": further.pop("query_id", pa.string()), "doc_id": pa.int64()}
    own = {"rank": pa.int32(), "score": pa.float32(), "first_stage_score": pa.float64()}
    return pa.schema({**ids, **own, "reason": pa.string(), **further, "scored_at": pa.date32()})


def test_columns_that_differ_are_named() -> None:
    found = layout_of(
        run(lang=pa.string(), day=pa.int32(), old=pa.bool_()),
        run(day=pa.int64(), lang=pa.string()),
    )
    assert [field.name for field in found.carried] == ["day", "lang"]
    assert found.compared == ("lang",)
    assert (found.only_before, found.only_after) == (("day", "old"), ("day",))
    assert found.reshaped


def test_ids_of_two_types_are_text() -> None:
    found = layout_of(run(query_id=pa.int64()), run())
    assert (found.query_id, found.doc_id) == (pa.string(), pa.int64())
    assert not found.reshaped
    assert layout_of(None, run(query_id=pa.int64())).query_id == pa.int64()


def test_a_carried_column_keeps_off_our_names() -> None:
    with pytest.raises(InputContractError, match=r"output\.columns: 'previous_rank'"):
        layout_of(None, run(previous_rank=pa.int32()))
