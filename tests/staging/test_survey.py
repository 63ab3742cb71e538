"""Ranges of shards hold every candidate once, whole queries, wherever shards end."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.sources.source import open_source
from pipeline.staging.lookup import key_hashes
from pipeline.staging.survey import (
    query_with_hash,
    ranges_of,
    rows_of,
    runs_of,
    survey_shard,
    surveyed,
)
from tests.staging.layouts import text

QUERIES = st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=1, max_size=40)
CUTS = st.lists(st.integers(0, 40), max_size=6)


def shards_of(queries: list[str | None], cuts: list[int]) -> list[pa.Table]:
    edges = sorted({0, len(queries), *(cut for cut in cuts if cut < len(queries))})
    table = pa.table({"query_id": pa.array(queries, pa.string())})
    return [table.slice(start, stop - start) for start, stop in pairwise(edges)]


@given(QUERIES, CUTS)
def test_a_query_in_two_places_is_found_wherever_shards_end(
    queries: list[str | None], cuts: list[int]
) -> None:
    shards = shards_of(queries, cuts)
    survey = surveyed([runs_of([shard]) for shard in shards])
    known = [query for query in queries if query is not None]
    runs = [query for query, _ in groupby(known)]
    apart = {query for query in runs if runs.count(query) > 1}
    assert (survey.repeated is not None) == bool(apart)
    if survey.repeated is not None:
        assert query_with_hash(shards, survey.repeated) in apart
    assert sum(survey.rows) == len(queries)


@given(QUERIES, CUTS)
def test_shards_read_in_pieces_say_the_same(queries: list[str | None], cuts: list[int]) -> None:
    pieces, [whole] = shards_of(queries, cuts), shards_of(queries, [])
    at_once, piecewise = runs_of([whole]), runs_of(pieces)
    assert (at_once.rows, at_once.second) == (piecewise.rows, piecewise.second)
    assert at_once.hashes.tolist() == piecewise.hashes.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(20, 200))
def test_ranges_hold_every_candidate_once(
    tmp_path: Path, lengths: list[int], shard_bytes: int
) -> None:
    named = [f"q{number}" for number, length in enumerate(lengths) for _ in range(length)]
    lines = [f"{query} Q0 d{place} {place + 1} 1.0 x" for place, query in enumerate(named)]
    path = text(tmp_path / "run.trec", lines)
    config = InputConfig(path=(str(path),), corpus=("c",), queries=("q",))
    source = open_source("candidates", config.path, config)
    shards = source.shards(shard_bytes)
    survey = surveyed([survey_shard(source, shard) for shard in shards])
    ranges = ranges_of(survey, 1.0, 10)
    found = [
        [
            query
            for table in rows_of(source, shards, part)
            for query in table.column("query_id").to_pylist()
        ]
        for part in ranges
    ]
    assert [query for part in found for query in part] == named
    assert sum(len(set(part)) for part in found) == len(lengths)


def test_hashes_are_of_the_text() -> None:
    assert (
        key_hashes(pa.array(["7"])).tolist()
        == runs_of([pa.table({"query_id": pa.array([7, 7])})]).hashes.tolist()
    )
