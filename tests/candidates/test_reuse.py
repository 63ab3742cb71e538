"""Reuse tables: written once, read against their digests, and looked up by content."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reuse import (
    MANIFEST,
    PART_SCHEMA,
    ReusePart,
    ReuseTable,
    known,
    with_known,
    write_part,
)
from pipeline.errors import DamagedRunError, NotFoundError

TABLE_ID = "0123456789abcdef"
BEFORE, TODAY = datetime.date(2026, 3, 1), datetime.date(2026, 3, 2)


def key(number: int) -> bytes:
    return number.to_bytes(schema.CONTENT_KEY_BYTES, "big")


def rows(keys: list[bytes], scores: list[float]) -> pa.Table:
    dates = [BEFORE] * len(keys)
    return pa.table([keys, scores, dates], schema=PART_SCHEMA)


def table(folder: Path, parts: list[ReusePart], **changes: Any) -> ReuseTable:
    values: dict[str, Any] = {
        "path": str(folder), "table_id": folder.name, "date": TODAY, "previous": None,
        "score_fingerprint": "f", "why": None, "parts": tuple(parts), "counts": {},
    }  # fmt: skip
    return ReuseTable(**values | changes)


@pytest.fixture
def made(tmp_path: Path) -> ReuseTable:
    """Two parts with the keys 0 to 3 and 4 to 7, of rows 0 to 10 and 10 to 20."""
    folder = tmp_path / TABLE_ID
    parts = [
        write_part(
            str(folder), n, start=10 * n, stop=10 * n + 10,
            rows=rows([key(4 * n + i) for i in range(4)], [n + i / 4 for i in range(4)]),
        )
        for n in range(2)
    ]  # fmt: skip
    previous = {"run_id": "f" * 16, "manifest_sha256": "0" * 64, "sequence": 3}
    counts = {"documents": {"reuse": 8, "new": 2}, "lists": {"reuse": 1}}
    found = table(folder, parts, previous=previous, counts=counts)
    found.finish()
    return found


def test_a_table_is_read_back_as_it_was_made(made: ReuseTable) -> None:
    assert ReuseTable.open(made.path) == made
    for (start, stop), numbers in {
        (0, 1): range(4), (9, 10): range(4), (10, 11): range(4, 8), (5, 15): range(8),
        (20, 30): range(0),
    }.items():  # fmt: skip
        found = made.scores(start, stop)
        assert found.schema == PART_SCHEMA
        assert found.column(schema.CONTENT_KEY).to_pylist() == [key(n) for n in numbers]


def test_whoever_makes_it_makes_the_same_bytes(made: ReuseTable) -> None:
    before = {path.name: path.read_bytes() for path in Path(made.path).iterdir()}
    for damage in (b"", b"cut", None):
        for path in Path(made.path).iterdir():
            path.unlink() if damage is None else path.write_bytes(damage)
        for part in made.parts:
            again = made.parts.index(part)
            numbers = range(4 * again, 4 * again + 4)
            given_rows = rows([key(n) for n in numbers], [again + i / 4 for i in range(4)])
            assert part == write_part(
                made.path, again, start=part.start, stop=part.stop, rows=given_rows
            )
        made.finish()
        assert {path.name: path.read_bytes() for path in Path(made.path).iterdir()} == before


def test_a_part_that_is_not_as_it_was_written_is_refused(tmp_path: Path, made: ReuseTable) -> None:
    path = Path(made.path, made.parts[1].key)
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert made.scores(0, 10).num_rows == 4
    with pytest.raises(DamagedRunError, match=r"part-00001.*its sha256 is not the one"):
        made.scores(0, 20)
    path.unlink()
    with pytest.raises(DamagedRunError, match=r"part-00001.*it is missing"):
        made.scores(10, 20)


def test_a_manifest_that_is_not_as_it_was_written_is_refused(made: ReuseTable) -> None:
    path = Path(made.path, MANIFEST)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-20], whole.replace(b'"sequence": 3', b'"sequence": 4')):
        path.write_bytes(damaged)
        with pytest.raises(DamagedRunError, match=MANIFEST):
            ReuseTable.open(made.path)
    path.write_bytes(whole)
    Path(made.path).rename(Path(made.path).with_name("f" * 16))
    with pytest.raises(DamagedRunError, match=f"it is of table {TABLE_ID}"):
        ReuseTable.open(str(Path(made.path).with_name("f" * 16)))
    with pytest.raises(NotFoundError, match="no whole reuse table"):
        ReuseTable.open(made.path)


KEYS = st.one_of(st.none(), st.integers(0, 5))
SCORES = st.sampled_from([0.5, -1.0, 2.0, float("nan")])


@pytest.mark.parametrize("pointwise", [True, False])
@given(
    st.lists(st.lists(KEYS, max_size=4), max_size=4), st.lists(st.tuples(st.integers(0, 5), SCORES))
)
def test_a_document_is_known_by_its_key_and_a_list_only_as_a_whole(
    pointwise: bool, wanted: list[list[int | None]], there: list[tuple[int, float]]
) -> None:
    numbers = [number for one in wanted for number in one]
    flat = CandidateLists.from_texts("", [""] * len(numbers))
    lists = CandidateLists(
        queries=pa.table({schema.QUERY_ID: pa.array(range(len(wanted)), pa.int64())}),
        offsets=np.cumsum([0, *map(len, wanted)]),
        documents=flat.documents,
    )
    keys = pa.array([n if n is None else key(n) for n in numbers], schema.CONTENT_KEY_TYPE)
    scores, dates = known(
        lists, keys, rows([key(n) for n, _ in there], [s for _, s in there]), pointwise=pointwise
    )
    first: dict[int | None, float] = {}
    for number, score in there:
        first.setdefault(number, score)
    expected = []
    for one in wanted:
        found = [first.get(number, np.nan) for number in one]
        lacking = any(n is not None and np.isnan(s) for n, s in zip(one, found, strict=True))
        expected += [np.nan if lacking and not pointwise else score for score in found]
    np.testing.assert_array_equal(scores, np.array(expected, dtype=np.float32))
    assert dates.to_pylist() == [None if np.isnan(score) else BEFORE for score in expected]


def test_what_is_known_stands_beside_the_documents_and_is_not_scored() -> None:
    lists = CandidateLists.from_texts("q", ["a", "b", "c", "d"])
    reasons = pa.array([None, None, None, "null_text"], pa.string())
    lists = CandidateLists(
        queries=lists.queries,
        offsets=lists.offsets,
        documents=lists.documents.set_column(4, schema.REASON, reasons),
    )
    fresh = with_known(lists, PART_SCHEMA.empty_table(), pointwise=True, fingerprint="f")
    assert fresh.unscored()[1].tolist() == [0, 1, 2]
    keys = fresh.documents.column(schema.CONTENT_KEY).to_pylist()
    found = with_known(lists, rows(keys[1:2], [0.25]), pointwise=True, fingerprint="f")
    again = CandidateLists.from_ipc(found.to_ipc())
    assert again.unscored()[1].tolist() == [0, 2]
    np.testing.assert_array_equal(again.reused_scores, [np.nan, 0.25, np.nan, np.nan])
    other = with_known(lists, rows(keys[1:2], [0.25]), pointwise=True, fingerprint="g")
    assert other.unscored()[1].tolist() == [0, 1, 2]
