from __future__ import annotations

from itertools import accumulate

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.candidates.columns import ColumnMap
from pipeline.candidates.inputs import Input, InputFile
from pipeline.storage.store import FileIdentity

COLUMNS = ColumnMap(
    layout="long", query={}, candidate={}, candidates=None, text=(), passed={},
    query_id=pa.string(), doc_id=pa.string(),
)  # fmt: skip


def input_of(rows: list[int]) -> Input:
    """Files of so many rows, empty ones among them."""
    firsts = [0, *accumulate(rows)]
    return Input(
        files=tuple(
            InputFile(
                identity=FileIdentity(path=f"part-{i}", size=1, version="v"),
                first=first,
                row_groups=(count,) if count else (),
                documents=(count,) if count else (),
                columns=COLUMNS,
            )
            for i, (first, count) in enumerate(zip(firsts, rows, strict=False))
        )
    )


@given(st.lists(st.integers(0, 4), max_size=12), st.data())
def test_pieces_are_the_asked_rows_in_order(rows: list[int], data: st.DataObject) -> None:
    source, total = input_of(rows), sum(rows)
    start = data.draw(st.integers(0, total + 1))
    stop = data.draw(st.integers(start, total + 2))
    found = [
        file.first + row
        for file, lower, upper in source.pieces(start, stop)
        for row in range(lower, upper)
    ]
    assert found == list(range(start, min(stop, total)))
