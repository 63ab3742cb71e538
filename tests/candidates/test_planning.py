from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.candidates.inputs import open_input
from pipeline.candidates.planning import Plan, plan_units
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from tests.makers import long_table, nested_table, write, write_parts


def plan_of(path: Path, *, documents: int = 10, fingerprint: str = "f", limit: int | None = None):
    source = open_input(InputConfig(path=(str(path),)))
    return plan_units(source, documents=documents, fingerprint=fingerprint, limit=limit)


def test_units_cover_the_rows_without_gap_or_overlap(tmp_path: Path) -> None:
    table = long_table(queries=40)
    folder = write_parts(tmp_path / "in", table, 5, row_group_size=13)
    units = plan_of(folder).units
    assert units[0].start == 0
    assert units[-1].stop == table.num_rows
    assert all(a.stop == b.start for a, b in pairwise(units))
    assert all(unit.documents <= 13 for unit in units)
    assert len({unit.name for unit in units}) == len(units)


def test_large_row_groups_are_cut_and_small_ones_joined(tmp_path: Path) -> None:
    table = long_table(queries=60)
    coarse = plan_of(write(tmp_path / "coarse.parquet", table), documents=20)
    fine = plan_of(write(tmp_path / "fine.parquet", table, row_group_size=1), documents=20)
    assert max(unit.documents for unit in coarse.units) <= 20
    assert [unit.documents for unit in fine.units[:-1]] == [20] * (len(fine.units) - 1)


def test_names_follow_content_and_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", long_table())
    first, again = plan_of(path), plan_of(path)
    assert first == again
    other = plan_of(path, fingerprint="g")
    assert other.run_id != first.run_id
    assert not {u.name for u in other.units} & {u.name for u in first.units}
    stat = path.stat()
    write(path, long_table(seed=5))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert plan_of(path).run_id != first.run_id


def test_nested_units_are_sized_by_documents(tmp_path: Path) -> None:
    table = long_table(queries=50, documents=9)
    path = write(tmp_path / "nested.parquet", nested_table(table), row_group_size=50)
    units = plan_of(path, documents=30).units
    assert len(units) >= table.num_rows // 30
    assert sum(unit.documents for unit in units) == pytest.approx(table.num_rows, abs=len(units))


@pytest.mark.parametrize("shape", ["long", "nested"])
def test_limit_takes_whole_queries(tmp_path: Path, shape: str) -> None:
    table = long_table(queries=20)
    path = write(tmp_path / "a.parquet", table if shape == "long" else nested_table(table))
    plan = plan_of(path, limit=3)
    wanted = [q for q in table.column("query_id").to_pylist() if q in ("q000", "q001", "q002")]
    assert plan.units[-1].stop == (len(wanted) if shape == "long" else 3)
    assert plan.run_id != plan_of(path).run_id


def test_a_plan_is_its_table(tmp_path: Path) -> None:
    plan = plan_of(write(tmp_path / "a.parquet", long_table()))
    again = Plan.from_table(plan.to_table(), run_id=plan.run_id, fingerprint=plan.fingerprint)
    assert again == plan


def test_files_must_agree_on_id_kinds(tmp_path: Path) -> None:
    table = long_table(queries=2)
    write(tmp_path / "in" / "a.parquet", table)
    numbers = pa.array(range(table.num_rows), pa.int64())
    write(tmp_path / "in" / "b.parquet", table.set_column(2, "doc_id", numbers))
    with pytest.raises(InputContractError, match=r"b\.parquet: 'doc_id' holds int64, but string"):
        plan_of(tmp_path / "in")
