from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_rows
from pipeline.storage.parquet.limits import DecodeBudget, ExpansionError
from pipeline.storage.store import identify
from tests import hostile


def rows_of(path: Path, *columns: str) -> list[dict[str, object]]:
    batches = read_rows(str(path), 0, 10**9, columns=columns)
    return [row for batch in batches for row in batch.to_pylist()]


class _Keys(pe.KmsClient):
    """Wraps keys in nothing; what matters is that the file is encrypted."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return bytes.fromhex(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [True, False])
@pytest.mark.parametrize("uniform", [True, False])
def test_encrypted_files_are_refused(tmp_path: Path, plaintext_footer: bool, uniform: bool) -> None:
    table = pa.table({"x": ["a", "b"], "y": [1, 2]})
    config = pe.EncryptionConfiguration(
        footer_key="f", plaintext_footer=plaintext_footer,
        **({"uniform_encryption": True} if uniform else {"column_keys": {"k": ["y"]}}),
    )  # fmt: skip
    factory = pe.CryptoFactory(lambda _: _Keys())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    path = tmp_path / "secret.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    for read in (lambda: read_footer(identify(str(path))), lambda: rows_of(path, "x")):
        with pytest.raises(InputContractError, match=r"secret\.parquet: the file is encrypted"):
            read()


def test_a_column_that_stands_twice_or_nowhere_is_refused_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    names = ["x", "y", "y"]
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 3, names=names), path)
    assert rows_of(path, "x") == [{"x": 1}]
    with pytest.raises(InputContractError, match="column 'y' stands twice"):
        rows_of(path, "x", "y")
    with pytest.raises(InputContractError, match="no column 'z'; columns found: x, y, y"):
        rows_of(path, "z")


def test_names_with_dots_are_not_taken_for_paths(tmp_path: Path) -> None:
    path = tmp_path / "dots.parquet"
    table = pa.table({"a.b": ["top"], "a": [{"b": "inner"}]})
    pq.write_table(table, path)
    assert rows_of(path, "a.b") == [{"a.b": "top"}]
    assert rows_of(path, "a") == [{"a": {"b": "inner"}}]


BOMBS: dict[str, Callable[[Path], Path]] = {
    "dictionary": hostile.dictionary_bomb,
    "page": hostile.page_bomb,
    "delta": hostile.delta_bomb,
    "nulls": hostile.null_bomb,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path, kind: str) -> None:
    path = BOMBS[kind](tmp_path / "bomb.parquet")
    assert path.stat().st_size < 500_000
    before = pa.total_allocated_bytes()
    peak = pa.default_memory_pool().max_memory
    where = r"bomb\.parquet, row group 0, column 'text'"
    with pytest.raises(ExpansionError, match=f"{where}.*: .*input.max_expansion"):
        list(read_rows(str(path), 0, 1500, columns=["text"], budget=DecodeBudget()))
    assert pa.default_memory_pool().max_memory() <= max(peak(), before + 200 * 2**20)


def test_what_a_file_repeats_is_read_where_the_reader_keeps_little_of_it(tmp_path: Path) -> None:
    path = hostile.dictionary_bomb(tmp_path / "often.parquet", rows=20_000, value=20_000)
    read = sum(batch.num_rows for batch in read_rows(str(path), 0, 20_000, columns=["text"]))
    assert read == 20_000
    with pytest.raises(ExpansionError):
        list(read_rows(str(path), 0, 20_000, columns=["text"], budget=DecodeBudget()))
    some = read_rows(str(path), 5_000, 8_000, columns=["text"], budget=DecodeBudget())
    assert sum(batch.num_rows for batch in some) == 3_000
    wide = DecodeBudget(max_expansion=1e9)
    kept = list(read_rows(str(path), 0, 20_000, columns=["text"], budget=wide))
    assert wide.kept >= 20_000 * 20_000
    assert {len(batch.column(0)[0].as_py()) for batch in kept} == {20_000}


def test_many_small_bombs_are_one_large_one(tmp_path: Path) -> None:
    paths = [hostile.dictionary_bomb(tmp_path / f"{i}.parquet", rows=100) for i in range(3)]
    budget = DecodeBudget()
    kept = []
    with pytest.raises(ExpansionError):
        for path in paths:
            kept += list(read_rows(str(path), 0, 100, columns=["text"], budget=budget))
    assert sum(batch.num_rows for batch in kept) == 100


def test_large_rows_come_in_small_batches(tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    table = pa.table({"x": [str(i).zfill(4) * 25_000 for i in range(2_000)]})
    pq.write_table(table, path, use_dictionary=False, row_group_size=2_000)
    batches = list(read_rows(str(path), 0, 2_000, columns=["x"]))
    assert max(batch.nbytes for batch in batches) < 64 * 2**20
    assert sum(batch.num_rows for batch in batches) == 2_000


def test_a_footer_that_is_absurdly_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "footer.parquet"
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), sink)
    with path.open("wb") as file:
        file.write(b"PAR1")
        file.truncate(70 * 2**20)
        file.seek(70 * 2**20)
        file.write((70 * 2**20 - 8).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputContractError, match="its footer takes 70 MiB, more than 64"):
        read_footer(identify(str(path)))
