"""Parquet of a run folder is data as well, whoever made the folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import DamagedRunError
from pipeline.execution.runs.ranked_reader import read_listed
from pipeline.execution.runs.run_files import read_sealed
from pipeline.outputs.sealed import sealed_bytes
from tests import hostile


def test_no_extension_type_of_a_ranked_file_is_resolved(tmp_path: Path) -> None:
    values = pa.array([hostile.payload(tmp_path / "marker")], pa.large_binary())
    schema = pa.schema([pa.field("query_id", pa.string()), hostile.declared("doc_id", values.type)])
    path = tmp_path / "unit-0.parquet"
    hostile.write_declared(path, pa.table([pa.array(["a"]), values], schema))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DamagedRunError, match=r"'doc_id' is of the extension type 'ray\.data"):
        read_listed(str(path), sha256)
    assert read_listed(str(path), sha256, ("query_id",)).to_pylist() == [{"query_id": "a"}]
    assert not (tmp_path / "marker").exists()


def test_nor_of_a_read_sealed(tmp_path: Path) -> None:
    table = pa.table({"unit": pa.array([b"0" * 16], pa.uuid()), "x": pa.array([1], pa.bool8())})
    path = tmp_path / "plan.parquet"
    path.write_bytes(sealed_bytes(table, {"run_id": "r"}))
    with pytest.raises(DamagedRunError, match=r"plan\.parquet: .*'x' is of the extension type"):
        read_sealed(str(path))
    path.write_bytes(sealed_bytes(table.drop_columns(["x"]), {"run_id": "r"}))
    found = read_sealed(str(path))
    assert found["unit"].to_pylist() == [b"0" * 16]


@pytest.mark.slow
def test_a_ranked_file_may_repeat_its_queries_as_often_as_it_likes(tmp_path: Path) -> None:
    path = hostile.dictionary_bomb(tmp_path / "unit-0.parquet", rows=300)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_listed(str(path), sha256, ("text",)).num_rows == 300
