from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.candidates import id_runs
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.picking import pick_queries, read_picks
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from tests.makers import long_table, nested_table, write, write_parts


def opened(path: Path) -> Input:
    return open_input(InputConfig(path=(str(path),)))


def drawn(source: Input, count: int, seed: int = 0) -> list[str]:
    return sorted(pick.query_id for pick in pick_queries(source, count, seed=seed).picks)


@pytest.fixture(params=["one file", "parts", "nested"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Input:
    table = long_table(queries=40)
    if request.param == "parts":
        return opened(write_parts(tmp_path / "in", table, 4, row_group_size=3))
    rows = nested_table(table) if request.param == "nested" else table
    return opened(write(tmp_path / "in.parquet", rows, row_group_size=6))


def test_the_same_queries_are_drawn_of_every_layout(
    source: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = opened(write(tmp_path / "other.parquet", long_table(queries=40)))
    assert drawn(source, 7) == drawn(whole, 7)
    monkeypatch.setattr(id_runs, "PIECE_ROWS", 5)
    assert drawn(source, 7) == drawn(whole, 7)
    assert set(drawn(source, 7)) < set(drawn(source, 20))
    assert drawn(source, 7) != drawn(source, 7, seed=1)
    assert len(drawn(source, 99)) == 40


def test_what_is_read_of_picks_is_what_a_run_reads(source: Input) -> None:
    picks = pick_queries(source, 11, seed=3).picks
    found = read_picks(source, picks, separator=" ")
    whole = read_lists(source, 0, source.rows)
    ids = whole.queries.column("query_id").to_pylist()
    assert found.queries.column("query_id").to_pylist() == [pick.query_id for pick in picks]
    for place, pick in enumerate(picks):
        at = ids.index(pick.query_id)
        first, last = found.offsets[place : place + 2]
        ours = found.documents.slice(first, last - first)
        theirs = whole.documents.slice(whole.offsets[at], whole.offsets[at + 1] - whole.offsets[at])
        assert ours.to_pylist() == theirs.to_pylist()


def test_only_wanted_queries_are_drawn_and_only_of_the_first(source: Input) -> None:
    picks = pick_queries(source, 9, seed=0, limit=8, wanted=lambda query_id: query_id != "q003")
    assert (picks.queries, picks.wanted) == (8, 7)
    assert {pick.query_id for pick in picks.picks} == {f"q{n:03d}" for n in (0, 1, 2, 4, 5, 6, 7)}
    assert pick_queries(source, 9, seed=0, wanted=lambda _: False).picks == ()


def test_rows_without_a_query_id_are_nobody_s(tmp_path: Path) -> None:
    table = pa.table(
        {
            "query_id": [1, 1, None, None, 2, None],
            "query": ["a", "a", "b", "b", "c", "c"],
            "doc_id": ["x", "y", "x", "y", "x", "y"],
            "text": ["t"] * 6,
        }
    )
    picks = pick_queries(opened(write(tmp_path / "in.parquet", table)), 9, seed=0)
    assert [(p.query_id, p.start, p.stop) for p in picks.picks] == [("1", 0, 2), ("2", 4, 5)]


def test_a_query_in_two_places_is_refused(tmp_path: Path) -> None:
    table = pa.concat_tables([long_table(queries=3), long_table(queries=3).slice(0, 1)])
    with pytest.raises(InputContractError, match="query_id 'q000' stands in two separate places"):
        pick_queries(opened(write(tmp_path / "in.parquet", table)), 9, seed=0)
