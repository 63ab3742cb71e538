"""Reading a run's ranked rows back, whole."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from pipeline.errors import NotFoundError
from pipeline.execution.run_folder import RunFolder, UnitCounts
from pipeline.storage.parquet import read_table


def read_ranked(folder: RunFolder, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of every committed unit, in the order of the plan.

    Raises:
        NotFoundError: no unit is committed yet.
    """
    committed = set(folder.committed())
    units = [unit.name for unit in folder.plan().units if unit.name in committed]
    if not units:
        raise NotFoundError(f"{folder.path}: no unit is committed yet; run the job first")
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda unit: _unit(folder, unit, columns), units))
    return pa.concat_tables(tables)


def _unit(folder: RunFolder, unit: str, columns: Sequence[str] | None) -> pa.Table:
    closing = read_table(folder.ranked(unit), columns=columns)
    parts = UnitCounts.from_metadata(closing.schema.metadata[b"counts"].decode()).parts
    paths = folder.files(unit, parts)[:-1]
    tables = [*(read_table(path, columns=columns) for path in paths), closing]
    return pa.concat_tables([table.replace_schema_metadata() for table in tables])
