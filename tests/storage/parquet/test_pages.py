from __future__ import annotations

import io
from itertools import pairwise
from os.path import commonprefix
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.storage.parquet.footer import ParquetFooter, parse_footer
from pipeline.storage.parquet.pages import ChunkPages, walk_pages
from pipeline.storage.parquet.thrift import ThriftError


def written(values: Any, **options: Any) -> tuple[bytes, ParquetFooter]:
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": values}), sink, **options)
    data = sink.getvalue()
    size = int.from_bytes(data[-8:-4], "little")
    return data, parse_footer(data[-8 - size : -8], len(data))


def walked(values: Any, **options: Any) -> ChunkPages:
    data, footer = written(values, **options)
    start, stored = int(footer.starts[0, 0]), int(footer.stored[0, 0])
    return walk_pages(
        data[start : start + stored], int(footer.values[0, 0]), footer.leaves[0],
        int(footer.codecs[0, 0]),
    )  # fmt: skip


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "gzip", "lz4", "zstd"])
@settings(max_examples=8)
@given(
    values=st.lists(
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=5)),
        min_size=1,
        max_size=30,
    ),
    times=st.sampled_from([1, 50]),
)
def test_what_values_repeat_is_counted_exactly(
    version: str, compression: str, values: list[Any], times: int
) -> None:
    lists = pa.array([v for v in values for _ in range(times)], pa.list_(pa.string()))
    pages = walked(
        lists, use_dictionary=False, column_encoding={"x.list.element": "DELTA_BYTE_ARRAY"},
        compression=compression, data_page_version=version,
    )  # fmt: skip
    texts = [t.encode() for one in lists.to_pylist() for t in one or () if t is not None]
    shared = sum(len(commonprefix(pair)) for pair in pairwise(texts))  # noqa: RUF071 - no paths
    # A page that could repeat little is not looked into, and counts with the most it could.
    assert shared <= pages.repeated <= max(shared, 2**16)


def test_a_dictionary_is_measured_by_its_longest_value() -> None:
    texts = [("word" * (i % 50)) or None for i in range(40_000)]
    pages = walked(texts, compression="zstd", row_group_size=40_000)
    assert pages.coded == pages.values == 40_000
    assert pages.longest == 4 * 49
    assert pages.largest >= pages.dictionary > 4 * 49
    assert walked(texts, use_dictionary=False).coded == 0


def test_pages_that_claim_what_is_not_there_are_refused() -> None:
    data, footer = written(["a", "b"], compression="none", use_dictionary=False)
    start = int(footer.starts[0, 0])
    with pytest.raises(ThriftError, match=r"of which 0 are there|cannot be"):
        walk_pages(data[start : start + 20], 2, footer.leaves[0], 0)
    with pytest.raises(ThriftError):
        walk_pages(b"\x00" * 20, 2, footer.leaves[0], 0)
