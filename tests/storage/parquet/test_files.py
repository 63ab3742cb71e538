from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_metadata, read_rows, read_table, to_bytes
from pipeline.storage.store import identify, write_whole


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (3, 4), (2, 9), (9, 10), (0, 1), (4, 4)])
def test_any_row_range_is_read_exactly(tmp_path: Path, start: int, stop: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": list(range(10))}), path, row_group_size=3)
    batches = read_rows(str(path), start, stop, columns=["x"], batch_rows=2)
    found = [value for batch in batches for value in batch.column(0).to_pylist()]
    assert found == list(range(start, stop))


def test_a_footer_counts_rows_and_list_items(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [[1, 2, 3], [4], [5, 6]]}), path, row_group_size=2)
    footer = read_footer(identify(str(path)))
    assert (footer.row_groups, footer.values, footer.rows) == ((2, 1), (4, 2), 3)


def test_bytes_carry_metadata_and_page_checksums(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    write_whole(path, to_bytes(pa.table({"x": [1]}), metadata={"model": "m"}))
    assert read_metadata(path)["model"] == "m"
    assert read_table(path).to_pydict() == {"x": [1]}
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert chunk.compression == "ZSTD"


def test_a_flipped_bit_in_our_own_file_is_noticed(tmp_path: Path) -> None:
    data = bytearray(to_bytes(pa.table({"x": list(range(1000))})))
    data[200] ^= 1
    path = str(tmp_path / "flipped.parquet")
    write_whole(path, bytes(data))
    with pytest.raises(
        InputContractError, match=r"flipped\.parquet, row group 0, column .x.: not readable"
    ):
        read_table(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "the file is empty"),
        (lambda data: data[: len(data) // 2], "cut off, damaged"),
        (lambda data: b"query_id,doc_id\n1,2\n", "another format"),
    ],
    ids=["empty", "truncated", "csv"],
)
def test_damaged_files_are_named(tmp_path: Path, damage: object, message: str) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(damage(to_bytes(pa.table({"x": [1]}))))  # type: ignore[operator]
    with pytest.raises(InputContractError, match=rf"bad\.parquet: .*{message}"):
        read_footer(identify(str(path)))
