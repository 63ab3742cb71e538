"""Every query belongs to the part that it begins in, whatever the parts are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.candidates import id_runs
from pipeline.candidates.inputs import open_input
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.hashes import stable_hashes
from pipeline.refresh.reuse.routing import Routes, queries_of
from tests.makers import long_table, nested_table, write_parts


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("piece_rows", [2, 1000])
def test_a_part_has_the_queries_that_its_lists_are_of(
    nested: bool, piece_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_runs, "PIECE_ROWS", piece_rows)
    table = long_table(4, 5)
    given = nested_table(table) if nested else table
    source = open_input(InputConfig(path=(str(write_parts(tmp_path / "in", given, 2)),)))
    for start in range(source.rows):
        for stop in range(start + 1, source.rows + 1):
            lists = read_lists(source, start, stop)
            ids = lists.queries.column("query_id").to_pylist()
            assert queries_of(source, start, stop).tolist() == sorted(stable_hashes(ids).tolist())


def test_rows_without_a_query_id_are_of_no_query(tmp_path: Path) -> None:
    table = pa.table({"query_id": [None, "a", None], "query": ["x"] * 3, "doc_id": ["d"] * 3,
                      "text": ["t"] * 3})  # fmt: skip
    source = open_input(InputConfig(path=(str(write_parts(tmp_path / "in", table, 1)),)))
    assert queries_of(source, 0, 3).tolist() == stable_hashes(["a"]).tolist()
    assert queries_of(source, 2, 3).tolist() == []


def test_routes_lead_to_the_part_of_a_query_and_nowhere_else() -> None:
    routes = Routes.of([np.array(part, np.uint64) for part in ([5, 9], [], [1, 2**64 - 1])])
    found = routes.to(np.array([9, 1, 3, 2**64 - 1, 0, 5], np.uint64))
    assert found.tolist() == [0, 2, -1, 2, -1, 0]
    assert Routes.of([]).to(np.array([9], np.uint64)).tolist() == [-1]
