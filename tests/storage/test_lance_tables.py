"""Versions of Lance tables that lance itself has written."""

from __future__ import annotations

import os
import random
import shutil
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import fsspec
import lance
import pyarrow as pa
import pytest

from pipeline.errors import ConfigurationError, InputContractError, NotFoundError
from pipeline.storage.lance_tables import LanceTable, lance_batches, lance_content, lance_table


def rows(*numbers: int) -> pa.Table:
    return pa.table({"number": list(numbers), "text": [f"text {number}" for number in numbers]})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Version 2 of a table: rows 0 to 9 in fragments of three, of which 1, 2 and 9 are deleted."""
    path = str(tmp_path / "a table#1 %20.lance")
    lance.write_dataset(rows(*range(10)), path, max_rows_per_file=3)
    lance.dataset(path).delete("number IN (1, 2, 9)")
    return path


def opened(folder: str) -> LanceTable:
    table = lance_table(folder)
    assert table is not None
    return table


def numbers(table: LanceTable, start: int = 0, stop: int = 100) -> list[int]:
    _, fragments = lance_content(table)
    batches = lance_batches(table, fragments, start, stop, columns=["number"])
    return [number for batch in batches for number in batch.column("number").to_pylist()]


def test_rows_of_a_version_are_read_by_place_without_those_that_are_deleted(folder: str) -> None:
    table = opened(f"{folder}/")
    assert (table.path, table.number) == (folder, 2)
    _, fragments = lance_content(table)
    assert [(one.rows, one.deleted) for one in fragments] == [(1, 2), (3, 0), (3, 0)]
    assert numbers(table) == [0, 3, 4, 5, 6, 7, 8]
    assert [numbers(table, start, start + 3) for start in range(0, 7, 3)] == [
        [0, 3, 4], [5, 6, 7], [8]
    ]  # fmt: skip


def test_a_version_stays_readable_while_newer_ones_are_written(folder: str) -> None:
    planned = opened(folder)
    lance.write_dataset(rows(20), folder, mode="append")
    lance.dataset(folder).delete("number < 8")
    assert numbers(planned) == [0, 3, 4, 5, 6, 7, 8]
    newest = opened(folder)
    assert numbers(newest) == [8, 20]
    assert (newest.number, newest.version != planned.version) == (4, True)
    lance.dataset(folder).cleanup_old_versions(timedelta(0))
    with pytest.raises(InputContractError, match=r"version 2 of this Lance table.*is gone"):
        numbers(planned)


def test_another_table_of_the_same_version_is_not_taken_for_it(folder: str) -> None:
    planned = opened(folder)
    shutil.rmtree(folder)
    lance.write_dataset(rows(*range(10)), folder, max_rows_per_file=3)
    lance.dataset(folder).delete("number = 9")
    with pytest.raises(InputContractError, match="changed since the run was planned"):
        numbers(planned)


def test_a_damaged_file_is_named(folder: str) -> None:
    def added(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch([batch.column("number")], ["other"])

    lance.dataset(folder).add_columns(added, read_columns=["number"])
    table = opened(folder)
    fragment = lance.dataset(folder).get_fragments()[1]
    assert len(fragment.data_files()) == 2
    damaged = Path(folder, "data", fragment.data_files()[0].path)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200])
    assert numbers(table, 0, 1) == [0]
    with pytest.raises(InputContractError, match=rf"data/{damaged.name}: .*200 bytes where the ma"):
        numbers(table)
    damaged.write_bytes(os.urandom(len(whole)))
    with pytest.raises(InputContractError, match=rf"data/{damaged.name}: .*are not 'LANC'"):
        numbers(table)
    damaged.unlink()
    with pytest.raises(NotFoundError, match=damaged.name):
        numbers(table)


@pytest.mark.parametrize("version", ["0.1", "2.0", "2.2"])
def test_no_end_of_a_file_ends_the_process(version: str, tmp_path: Path) -> None:
    """The library takes as much memory as a file states, and dies where there is none."""
    path = tmp_path / "t.lance"
    lance.write_dataset(rows(*range(90)), path, data_storage_version=version)
    lance.dataset(path).delete("number IN (1, 2, 9)")
    table, chance = opened(str(path)), random.Random(3)
    [data], [deletions] = (list((path / name).iterdir()) for name in ("data", "_deletions"))
    for file in (data, deletions):
        whole = file.read_bytes()
        for _ in range(20):
            changed = bytearray(whole)
            for place in chance.sample(range(1, 65), chance.randint(1, 3)):
                changed[-place] ^= chance.randint(1, 255)
            file.write_bytes(changed)
            with suppress(InputContractError):
                numbers(table)
        file.write_bytes(whole)
    assert len(numbers(table)) == 87


@pytest.mark.parametrize("kept", [0, 10, 0.5])
def test_a_damaged_manifest_is_refused(folder: str, kept: float) -> None:
    manifest = Path(opened(folder).manifest.path)
    data = manifest.read_bytes()
    manifest.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(InputContractError, match=r"%20\.lance: this Lance table cannot be rea"):
        lance_table(folder)


def test_files_outside_of_the_folder_are_not_read(folder: str, tmp_path: Path) -> None:
    clone = str(tmp_path / "clone.lance")
    lance.dataset(folder).shallow_clone(clone, 2)
    with pytest.raises(InputContractError, match=r"files outside of its folder, such as .*a table"):
        lance_table(clone)


def test_what_is_no_table_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "none", tmp_path / "*"):
        assert lance_table(str(path)) is None


def test_the_extra_is_named_where_it_is_missing(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rerank-pipeline\[lance\]'"):
        lance_table(folder)


def test_stores_that_lance_is_given_no_access_to_are_refused() -> None:
    fsspec.filesystem("memory").pipe("/lance-table/_versions/1.manifest", b"")
    with pytest.raises(ConfigurationError, match="from disks and s3:// only"):
        lance_table("memory://lance-table")


def test_a_table_in_s3_is_read_with_the_credentials_of_the_environment(
    s3_folder: str, folder: str
) -> None:
    target = f"{s3_folder}/t.lance"
    lance.write_dataset(
        lance.dataset(folder), target, storage_options={"allow_http": "true"}, max_rows_per_file=4
    )
    table = opened(target.replace("s3://", "s3a://"))
    assert numbers(table, 2, 6) == [4, 5, 6, 7]
    lance.write_dataset(rows(1), target, mode="append", storage_options={"allow_http": "true"})
    assert numbers(table) == [0, 3, 4, 5, 6, 7, 8]
