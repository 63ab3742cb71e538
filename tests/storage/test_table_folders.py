"""Folders of tables with a log: real Delta tables, and others by what they are known by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.candidates.inputs import open_input
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_rows
from pipeline.storage.store import list_files


def rows(*numbers: int, **columns: Any) -> pa.Table:
    return pa.table(
        {
            "query_id": [f"q{number}" for number in numbers],
            "query": ["what"] * len(numbers),
            "doc_id": ["d"] * len(numbers),
            "text": ["text"] * len(numbers),
            "lang": ["de" if number % 2 else "e n/x" for number in numbers],
            **columns,
        }
    )


def ids(path: str) -> list[str]:
    source = open_input(InputConfig(path=path), pass_through=("lang",))
    batches = [batch for *_, batch in source.batches(0, source.rows)]
    found = [(row["query_id"], row["lang"]) for batch in batches for row in batch.to_pylist()]
    assert all(lang == ("de" if int(query[1:]) % 2 else "e n/x") for query, lang in found)
    return sorted(query for query, _ in found)


def test_the_latest_version_of_a_delta_table_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a table#1")
    write_deltalake(path, rows(1, 2, 3), partition_by=["lang"])
    write_deltalake(path, rows(4), mode="append")
    assert ids(path) == ["q1", "q2", "q3", "q4"]
    DeltaTable(path).delete("query_id = 'q1'")
    assert ids(path) == ["q2", "q3", "q4"]
    write_deltalake(path, rows(5), mode="overwrite")
    assert ids(path) == ["q5"]


def test_a_delta_table_above_or_with_features_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "in" / "table")
    write_deltalake(path, rows(1))
    with pytest.raises(InputContractError, match="in table/, is a table of Delta Lake"):
        list_files(str(tmp_path / "in"))
    mapped = str(tmp_path / "mapped")
    write_deltalake(mapped, rows(1), configuration={"delta.enableDeletionVectors": "true"})
    with pytest.raises(InputContractError, match=r"deletionVectors.*which is not understood"):
        list_files(mapped)


def test_a_file_that_the_log_names_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write_deltalake(str(path), rows(1))
    [file] = list_files(str(path))
    assert next(read_rows(file.path, 0, 1, columns=["query_id"], expected=file)).num_rows == 1
    Path(file.path).unlink()
    with pytest.raises(InputContractError, match=r"names part-.*parquet, which is not there"):
        list_files(str(path))


@pytest.mark.parametrize(
    ("kind", "marker"),
    [
        ("Hudi", ".hoodie/hoodie.properties"),
        ("Lance", "below/_versions/1.manifest"),
    ],
)
def test_other_tables_are_refused_by_name(kind: str, marker: str, tmp_path: Path) -> None:
    for name in (marker, "data/rows.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    said = {"Hudi": "this is a table of Hudi.*write its rows", "Lance": "in below/, is a table of"}
    with pytest.raises(InputContractError, match=said[kind]):
        list_files(str(tmp_path))


def test_a_lance_table_is_refused_where_only_parquet_is_read(tmp_path: Path) -> None:
    (tmp_path / "_versions").mkdir()
    (tmp_path / "_versions" / "1.manifest").touch()
    with pytest.raises(InputContractError, match=r"this is a Lance table.*input.format is auto"):
        open_input(InputConfig(path=str(tmp_path)))
