from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.inputs import open_input
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import RerankError
from tests.makers import long_table, nested_table

#: Ways to write the same rows.
WRITERS: dict[str, dict[str, object]] = {
    "snappy": {"row_group_size": 20},
    "plain": {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
    "zstd": {"compression": "zstd", "write_page_checksum": True, "store_schema": False},
    "delta": {"compression": "gzip", "use_dictionary": False,
              "column_encoding": {"query_id": "DELTA_BYTE_ARRAY"}},
}  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with something wrong, more often than not in the footer."""
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    first = chance.choice([0, footer, footer])
    start = chance.randrange(first, len(data))
    size = chance.choice([1, 1, 2, 8, 64])
    kind = chance.randrange(6)
    broken = bytearray(data)
    if kind == 0:
        broken[start] ^= 1 << chance.randrange(8)
    elif kind == 1:
        broken[start : start + size] = chance.randbytes(size)
    elif kind == 2:
        broken[start : start + size] = b""
    elif kind == 3:
        broken[start:start] = chance.randbytes(size)
    elif kind == 4:
        broken[start : start + size] = b"\xff" * size
    else:
        other = chance.randrange(first, len(data))
        broken[start : start + size] = data[other : other + size]
    return bytes(broken) if chance.random() > 0.1 else data[:start]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["long", "nested"])
@pytest.mark.parametrize("writer", WRITERS)
def test_damaged_files_give_a_result_or_an_error_of_ours(
    tmp_path: Path, writer: str, layout: str
) -> None:
    table = long_table() if layout == "long" else nested_table(long_table())
    options = WRITERS[writer]
    if layout == "nested":
        options = {name: value for name, value in options.items() if name != "row_group_size"}
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    chance = random.Random(f"{writer} {layout}")
    path = tmp_path / "damaged.parquet"
    refused = 0
    for _ in range(60):
        path.write_bytes(damaged(sink.getvalue(), chance))
        try:
            source = open_input(InputConfig(path=(str(path),)))
            read_lists(source, 0, source.rows)
        except RerankError as error:
            assert "damaged.parquet" in str(error)
            refused += 1
    assert refused > 20
    assert pa.total_allocated_bytes() < 2**28
