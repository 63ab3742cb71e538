"""The smallest and largest id of a row group: what footers say, and what is not believed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.parquet import Footer, read_footer
from pipeline.storage.parquet.footer import BYTE_ARRAY, Leaf
from pipeline.storage.parquet.ranges import ValueRange, range_of
from pipeline.storage.store import identify

TEXT = Leaf(("id",), BYTE_ARRAY, 0, 1, 0)


def footer_of(folder: Path, values: pa.Array, **options: object) -> Footer:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"id": values}), path, row_group_size=3, **options)
    return read_footer(identify(str(path)))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (pa.array(["b", None, "a"]), "a", "b"),
        (pa.array([-1, None, 5], pa.int16()), -1, 5),
        (pa.array([2**32 - 1, None, 5], pa.uint32()), 5, 2**32 - 1),
        (pa.array([2**64 - 1, None, 5], pa.uint64()), 5, 2**64 - 1),
        (pa.array([b"x", None, b"x"], pa.binary()), "x", "x"),
        (pa.array([b"\xff", None, b"x"], pa.binary()), None, None),
        (pa.array([None, None, None], pa.string()), None, None),
    ],
)
def test_ids_that_a_row_group_holds(tmp_path: Path, values: pa.Array, low: object, high: object):
    [found] = footer_of(tmp_path, values).ranges("id")
    assert (found.low, found.high) == (low, high)
    assert found.nulls == values.null_count
    assert found.stored > 0


def test_nothing_is_known_without_statistics(tmp_path: Path) -> None:
    [found] = footer_of(tmp_path, pa.array(["a"]), write_statistics=False).ranges("id")
    assert found == ValueRange(found.stored)


@pytest.mark.parametrize(
    ("text", "exact", "taken"),
    [
        (b"x" * 15, None, True),
        (b"x" * 16, None, False),
        (b"x" * 64, True, True),
        (b"x" * 3, False, False),
    ],
)
def test_text_that_a_writer_may_have_cut(text: bytes, exact: bool | None, taken: bool) -> None:
    said = {3: 0, 5: text, 6: text} | ({} if exact is None else {7: exact, 8: exact})
    found = range_of(1, said, TEXT, unsigned=False, uuid=False)
    assert found.high == (text.decode() if taken else None)


@pytest.mark.parametrize("said", [{1: b"a", 2: b"a", 3: 0}, {5: 7, 6: b"a"}, {3: -4}, {5: b"z"}])
def test_what_is_deprecated_or_malformed_is_not_taken(said: dict) -> None:
    found = range_of(1, said, TEXT, unsigned=False, uuid=False)
    assert (found.low, found.high) == (None, None)
