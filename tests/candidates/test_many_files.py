"""Inputs of many small files, and of one row group that is too large to be read for every unit."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.inputs import open_input
from pipeline.candidates.planning import plan_units
from pipeline.candidates.reading import read_lists
from pipeline.candidates.unchanged import read_unchanged
from pipeline.config import InputConfig
from pipeline.storage import store
from tests.makers import long_table, write, write_parts

#: How often each path was opened while a test listens; an audit hook cannot be taken away again.
_OPENED: Counter[str] = Counter()
_listening = False


def _listen(event: str, details: tuple[Any, ...]) -> None:
    if _listening and event == "open" and str(details[0]).endswith(".parquet"):
        _OPENED[str(details[0])] += 1


def test_a_unit_of_many_files_opens_each_once(tmp_path: Path) -> None:
    global _listening
    table = long_table(queries=200, documents=6)
    folder = write_parts(tmp_path / "in", table, 60)
    source = open_input(InputConfig(path=(str(folder),)))
    plan = plan_units(source, documents=table.num_rows // 3, fingerprint="f")
    assert len(plan.units) in (3, 4), "small files are joined"
    unit = plan.units[1]
    sys.addaudithook(_listen)
    _OPENED.clear()
    _listening = True
    try:
        lists = read_unchanged(source, lambda opened: read_lists(opened, unit.start, unit.stop))
    finally:
        _listening = False
    assert lists.documents.num_rows > 100
    inner = [file.identity.path for file, _, _ in source.pieces(unit.start, unit.stop)][1:-1]
    assert len(inner) > 15
    assert {_OPENED[path] for path in inner} == {1}
    # Those at the ends are opened once more, for the queries that go on into other units.
    assert max(_OPENED.values()) <= 2 and sum(_OPENED.values()) <= len(inner) + 6


def test_small_files_on_a_store_give_the_units_that_they_give_on_a_disk(
    tmp_path: Path, s3_folder: str
) -> None:
    table = long_table(queries=40, documents=6)
    folder = write_parts(tmp_path / "lang=de fr", table, 25)
    for path in folder.iterdir():
        name = f"{folder.name}/{path.name}"
        store.write_whole(store.join(s3_folder, name), path.read_bytes())
    edges = []
    for root in (str(tmp_path), s3_folder, f"{s3_folder}/lang=*/part-*.parquet"):
        source = open_input(InputConfig(path=(root,)), pass_through=("lang",))
        units = plan_units(source, documents=30, fingerprint="f").units
        edges.append([(unit.start, unit.stop) for unit in units])
        lists = read_lists(source, *edges[-1][1])
        assert set(lists.documents["lang"].to_pylist()) == {"de fr"}
    assert edges[0] == edges[1] == edges[2]


@pytest.mark.parametrize("most", [None, 4])
def test_a_row_group_is_cut_into_no_more_units_than_it_may_be(
    tmp_path: Path, most: int | None
) -> None:
    table = long_table(queries=300, documents=9)
    source = open_input(InputConfig(path=(str(write(tmp_path / "x.parquet", table)),)))
    file = replace(source.files[0], most_parts=() if most is None else (most,))
    source = replace(source, files=(file,))
    units = plan_units(source, documents=20, first=5, fingerprint="f").units
    assert (units[0].start, units[-1].stop) == (0, table.num_rows)
    assert all(before.stop == after.start for before, after in pairwise(units))
    assert len(units) <= most if most else len(units) > table.num_rows // 20


@pytest.mark.slow
def test_where_pages_are_known_a_large_group_may_be_cut_anyhow(tmp_path: Path) -> None:
    """By an offset index, or because no column is inside a list."""
    text = "x" * 2**20
    lists = [[{"doc_id": str(i), "text": f"{i}{text}"}] for i in range(160)]
    flat = pa.table(
        {"query_id": [f"q{i}" for i in range(160)], "query": ["x"] * 160,
         "doc_id": ["d"] * 160, "text": [one[0]["text"] for one in lists]}
    )  # fmt: skip
    nested = flat.select(["query_id", "query"]).append_column("candidates", pa.array(lists))
    for name, table, index, limited in (
        ("flat", flat, False, False), ("nested", nested, True, False), ("bare", nested, False, True)
    ):  # fmt: skip
        path = tmp_path / name / "x.parquet"
        path.parent.mkdir()
        pq.write_table(
            table, path, compression="none", use_dictionary=False, write_page_index=index
        )
        [file] = open_input(InputConfig(path=(str(path),))).files
        assert file.most_parts == ((8,) if limited else ()), name
