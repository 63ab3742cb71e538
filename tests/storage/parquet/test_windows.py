from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.parquet.chunks import WINDOW, StoredChunks, Window
from pipeline.storage.parquet.files import read_rows

DATA = random.Random(0).randbytes(3 * WINDOW)


@given(
    st.integers(0, len(DATA)), st.integers(0, len(DATA)),
    st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, 2 * WINDOW)), max_size=5),
)  # fmt: skip
def test_a_window_is_used_like_the_bytes(a: int, b: int, looks: list[tuple[int, int]]) -> None:
    start, stop = min(a, b), max(a, b)
    window, whole = Window(io.BytesIO(DATA), start, stop), DATA[start:stop]
    assert len(window) == len(whole)
    for place, size in looks:
        assert window[place : place + size] == whole[place : place + size]
        if place < len(whole):
            assert window[place] == whole[place]
        else:
            with pytest.raises(IndexError):
                window[place]


def test_ranges_that_are_large_together_are_not_held() -> None:
    class Hole(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("nothing is asked for yet")

    assert not StoredChunks(Hole(), [(0, 2**28)], 2**28).held


def test_a_large_nested_group_without_an_index_is_read_through_windows(tmp_path: Path) -> None:
    chance = random.Random(1)
    texts = [chance.randbytes(2**17).hex() for _ in range(560)]
    lists = [[{"doc_id": str(i), "text": text}] for i, text in enumerate(texts)]
    pq.write_table(
        pa.table({"candidates": lists}), tmp_path / "x.parquet", compression="none",
        use_dictionary=False,
    )  # fmt: skip
    found = list(read_rows(str(tmp_path / "x.parquet"), 400, 410, columns=["candidates"]))
    assert [one for batch in found for one in batch.column(0).to_pylist()] == lists[400:410]
