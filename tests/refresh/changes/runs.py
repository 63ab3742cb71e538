"""Published runs that tests compare, made by the lexical family in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.run_folder import RunFolder
from tests.makers import write


def job(folder: Path, table: pa.Table, *, mode: str = "in_process", **sections: Any) -> JobConfig:
    """A job over a table, whose runs lie in ``folder/out``."""
    number = len(list(folder.glob("input-*.parquet")))
    given: dict[str, Any] = {
        "model": {"name": "lexical"},
        "input": {"path": str(write(folder / f"input-{number}.parquet", table))},
        "output": {"path": str(folder / "out"), **sections.pop("write", {})},
        "units": {"documents": 20},
        "quarantine": {"max_error_rate": 1.0, "max_unit_error_rate": 1.0},
        "ray": {"mode": mode, "read_cpus": 1},
        "report": {"page": False},
    }
    return JobConfig.model_validate(given | sections)


def run_of(folder: Path, table: pa.Table, **sections: Any) -> RunFolder:
    """The published run of a table."""
    return RunFolder(execute(prepare(job(folder, table, **sections))).folder)


def rows_of(run: RunFolder) -> list[dict[str, Any]]:
    """All ranked rows, by Arrow's own reader."""
    rows: list[dict[str, Any]] = pq.ParquetDataset(f"{run.path}/ranked").read().to_pylist()
    return rows


def next_night(table: pa.Table) -> pa.Table:
    """The same lists a day later: a query gone, a new one, texts changed, a document lost."""
    rows = table.to_pylist()
    first, *_, last = sorted({row["query_id"] for row in rows})
    lost = next(n for n, row in enumerate(rows) if row["query_id"] not in (first, last))
    kept = [row for n, row in enumerate(rows) if row["query_id"] != first and n != lost]
    for row in kept[::5]:
        row["text"] = f"ray data {row['text']}"
    for row in kept[3::11]:
        row["text"] = None  # not scored any more
    new = [{**row, "query_id": "new"} for row in rows if row["query_id"] == last]
    return pa.Table.from_pylist([*kept, *new], schema=table.schema)
