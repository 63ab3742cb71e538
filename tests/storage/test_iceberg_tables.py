"""Folders of Iceberg tables that pyiceberg has written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import Table

from pipeline.errors import InputContractError
from pipeline.storage.store import list_files
from tests.storage.test_table_folders import ids, rows
from tests.support.s3_server import S3Server

Create = Callable[..., Table]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[InMemoryCatalog]:
    # Closed, for Python 3.13 warns of its database otherwise.
    with InMemoryCatalog("test", warehouse=str(tmp_path)) as catalog:
        catalog.create_namespace("in")
        yield catalog


@pytest.fixture
def table(catalog: InMemoryCatalog) -> Table:
    """Three rows, of which one is deleted by then, in a folder ``in/table``."""
    table = catalog.create_table("in.table", schema=rows(1).schema)
    table.append(rows(1, 2))
    table.append(rows(3))
    table.delete("query_id = 'q2'")
    return table


def folder_of(table: Table) -> str:
    return table.location().removeprefix("file://")


def change_metadata(table: Table, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the newest metadata by hand."""
    newest = max(Path(folder_of(table)).glob("metadata/*.metadata.json"))
    data: dict[str, Any] = json.loads(newest.read_text())
    change(data)
    newest.write_text(json.dumps(data))


def test_the_latest_version_is_read(table: Table) -> None:
    folder = folder_of(table)
    assert ids(folder) == ["q1", "q3"]
    table.append(rows(4))
    assert ids(folder) == ["q1", "q3", "q4"]
    table.overwrite(rows(5))
    assert ids(folder) == ["q5"]


def test_names_of_tables_without_a_catalog_and_newer_columns_are_read(table: Table) -> None:
    with table.update_schema() as update:
        from pyiceberg.types import StringType

        update.add_column("note", StringType())
    folder = Path(folder_of(table))
    newest = max(folder.glob("metadata/*.metadata.json"))
    for file in folder.glob("metadata/*.metadata.json"):
        if file != newest:
            file.unlink()
    newest.rename(newest.with_name("v12.metadata.json"))
    assert ids(str(folder)) == ["q1", "q3"]


@pytest.mark.parametrize("change", ["rename_column", "delete_column"])
def test_columns_that_older_files_hold_by_another_name_are_refused(
    table: Table, change: str
) -> None:
    with table.update_schema() as update:
        getattr(update, change)(*(("lang", "language") if "rename" in change else ("lang",)))
    said = "renamed to 'language'" if "rename" in change else "dropped"
    with pytest.raises(InputContractError, match=f"column 'lang' of this Iceberg table was {said}"):
        list_files(folder_of(table))


def test_two_newest_versions_are_refused(table: Table) -> None:
    newest = max(Path(folder_of(table)).glob("metadata/*.metadata.json"))
    shutil.copy(newest, newest.with_name(f"{newest.name[:5]}-other.metadata.json"))
    with pytest.raises(InputContractError, match=r"only its catalog knows: metadata/.*-other"):
        list_files(folder_of(table))


def test_a_folder_above_and_a_table_that_was_moved_are_refused(
    table: Table, tmp_path: Path
) -> None:
    with pytest.raises(InputContractError, match="in table/, is a table of Iceberg"):
        list_files(str(Path(folder_of(table)).parent))
    moved = shutil.copytree(folder_of(table), tmp_path / "moved")
    with pytest.raises(InputContractError, match=r"its location at .*was it moved or copied"):
        list_files(str(moved))


def test_a_file_that_is_gone_is_named(table: Table) -> None:
    Path(list_files(folder_of(table))[0].path).unlink()
    with pytest.raises(InputContractError, match=r"Iceberg table names .*parquet, which is not"):
        list_files(folder_of(table))


def test_lists_of_files_that_lie_elsewhere_are_not_opened(table: Table) -> None:
    def change(data: dict[str, Any]) -> None:
        for snapshot in data["snapshots"]:
            snapshot["manifest-list"] = "/etc/hostname"

    change_metadata(table, change)
    with pytest.raises(InputContractError, match="a list of files at /etc/hostname"):
        list_files(folder_of(table))


def test_properties_of_a_table_choose_no_code_and_no_store(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    planted = {"py-io-impl": "planted.FileIO", "s3.endpoint": "http://127.0.0.1:1"}
    change_metadata(table, lambda data: data["properties"].update(planted))
    assert ids(folder_of(table)) == ["q1", "q3"]
    assert not (tmp_path / "marker").exists()


def test_rows_that_are_deleted_by_files_of_their_own_are_refused(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyiceberg reads such files and writes none, so the scan is given one."""
    plan = type(table.scan()).plan_files

    def with_deletes(scan: Any) -> list[Any]:
        tasks = list(plan(scan))
        tasks[0].delete_files.add(tasks[0].file)
        return tasks

    monkeypatch.setattr(type(table.scan()), "plan_files", with_deletes)
    with pytest.raises(InputContractError, match=r"deleted by files of their own.*compact it"):
        list_files(folder_of(table))


def test_a_table_in_a_store(s3_folder: str, s3_server: S3Server) -> None:
    properties = {
        "s3.endpoint": s3_server.url,
        "s3.access-key-id": s3_server.access_key,
        "s3.secret-access-key": s3_server.secret_key,
        "s3.region": "us-east-1",
        # Arrow's own writer leaves out a length that Ceph asks for.
        "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
    }
    with InMemoryCatalog("test", warehouse=s3_folder, **properties) as catalog:
        catalog.create_namespace("in")
        table = catalog.create_table("in.table", schema=rows(1).schema)
        table.append(rows(1, 2))
        table.delete("query_id = 'q2'")
        assert ids(table.location()) == ["q1"]
