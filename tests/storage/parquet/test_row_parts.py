"""Rows read by their pages are the rows that reading the whole row group gives."""

from __future__ import annotations

import datetime
import decimal
import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputContractError
from pipeline.storage.parquet.files import read_rows
from pipeline.storage.parquet.footer import FooterError
from pipeline.storage.parquet.limits import DecodeBudget, ExpansionError
from pipeline.storage.parquet.page_rows import can_be_located, locate_pages
from pipeline.storage.parquet.reader import OpenParquet, opened
from pipeline.storage.parquet.row_parts import LARGE_BYTES, located, part_batches

ROWS = 3_000


def nested_values(chance: random.Random) -> list[Any]:
    def item() -> Any:
        return None if chance.random() < 0.1 else {
            "doc_id": chance.randrange(10**6),
            "text": None if chance.random() < 0.2 else "t" * chance.randrange(40),
            "tags": None if chance.random() < 0.2 else ["x"] * chance.randrange(3),
            "more": {"a": chance.random(), "b": None},
        }  # fmt: skip

    return [
        None if chance.random() < 0.1 else [item() for _ in range(chance.randrange(5))]
        for _ in range(ROWS)
    ]


ITEM = pa.struct(
    [
        ("doc_id", pa.int64()), ("text", pa.string()), ("tags", pa.list_(pa.string())),
        ("more", pa.struct([("a", pa.float64()), ("b", pa.string())])),
    ]
)  # fmt: skip


def table() -> pa.Table:
    chance = random.Random(7)
    texts = [None if i % 17 == 0 else f"text {i} " * chance.randrange(8) for i in range(ROWS)]
    values = nested_values(chance)
    day = datetime.datetime(2026, 1, 1)
    return pa.table(
        {
            "query_id": pa.array([f"q{i // 50}" for i in range(ROWS)]),
            "number": pa.array([None if i % 5 == 0 else i for i in range(ROWS)], pa.uint32()),
            "text": pa.array(texts),
            "large": pa.array(texts, pa.large_string()),
            "coded": pa.array(texts).dictionary_encode(),
            "bytes": pa.array([b"%d" % i for i in range(ROWS)], pa.binary()),
            "fixed": pa.array([b"%016d" % i for i in range(ROWS)], pa.binary(16)),
            "wide": pa.array([decimal.Decimal(i) for i in range(ROWS)], pa.decimal128(38, 0)),
            "when": pa.array([day + datetime.timedelta(days=i) for i in range(ROWS)]),
            "bool": pa.array([i % 3 == 0 for i in range(ROWS)]),
            "image": pa.array([{"bytes": b"%d" % i, "path": None} for i in range(ROWS)]),
            "candidates": pa.array(values, pa.list_(ITEM)),
            "large_list": pa.array(values, pa.large_list(ITEM)),
        }
    )


TABLE = table()
FLAT = [name for name in TABLE.column_names if "list" not in str(TABLE.schema.field(name).type)]


def written(**settings: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, data_page_size=512, write_batch_size=64, **settings)
    return sink.getvalue()


def parts_of(
    parquet: OpenParquet, columns: list[str], lower: int, upper: int, budget: DecodeBudget
) -> pa.Table:
    pages = located(parquet, 0, columns)
    assert pages is not None
    batches = part_batches(parquet, 0, columns, pages, 100, budget, lower, upper)
    return pa.Table.from_batches(list(batches))


SETTINGS = {
    "plain": {"compression": "none", "use_dictionary": False},
    "snappy": {},
    "zstd, version 2": {"compression": "zstd", "data_page_version": "2.0"},
    "delta": {
        "use_dictionary": False, "compression": "none",
        "column_encoding": {"text": "DELTA_BYTE_ARRAY", "bytes": "DELTA_LENGTH_BYTE_ARRAY"},
    },
    "checksums": {"write_page_checksum": True},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("index", [True, False])
def test_any_rows_are_those_of_the_whole(kind: str, index: bool) -> None:
    data = written(write_page_index=index, **SETTINGS[kind])
    columns = TABLE.column_names if index else FLAT
    wanted = pq.read_table(io.BytesIO(data), arrow_extensions_enabled=False).select(columns)
    chance = random.Random(3)
    ranges = [(0, ROWS), (0, 1), (ROWS - 1, ROWS), (1234, 1235)]
    ranges += [tuple(sorted(chance.sample(range(ROWS), 2))) for _ in range(8)]
    with opened("x", io.BytesIO(data)) as parquet:
        for lower, upper in ranges:
            found = parts_of(parquet, columns, lower, upper, DecodeBudget())
            found.validate(full=True)
            assert found.to_pylist() == wanted.slice(lower, upper - lower).to_pylist()
            assert found.schema.types == wanted.schema.types


def test_lists_need_an_index(tmp_path: Any) -> None:
    with opened("x", io.BytesIO(written(write_page_index=False))) as parquet:
        assert located(parquet, 0, ["candidates"]) is None
        [flat] = parquet.footer.places(["text"]).tolist()
        [listed, *_] = parquet.footer.places(["candidates"]).tolist()
        assert can_be_located(parquet.footer, 0, flat)
        assert not can_be_located(parquet.footer, 0, listed)


def test_only_the_pages_of_the_rows_are_read() -> None:
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.read_bytes += len(data)
            return data

    source = Counting(written(write_page_index=True, use_dictionary=False, compression="none"))
    with opened("x", source) as parquet:
        parts_of(parquet, ["text", "candidates"], 0, 10, DecodeBudget())
        before = source.read_bytes
        parts_of(parquet, ["text", "candidates"], 2000, 2010, DecodeBudget())
        stored = parquet.footer.stored[0, parquet.footer.places(["text", "candidates"])].sum()
        assert source.read_bytes - before < stored / 10


def test_what_is_kept_is_counted_and_bombs_are_refused() -> None:
    bomb = pa.table({"text": ["x" * 10_000] * 20_000})
    sink = io.BytesIO()
    pq.write_table(bomb, sink, data_page_size=2**20, write_page_index=True, compression="zstd")
    with opened("bomb", sink) as parquet:
        pages = located(parquet, 0, ["text"])
        assert pages is not None
        with pytest.raises(ExpansionError, match="bomb, row group 0"):
            list(part_batches(parquet, 0, ["text"], pages, 100, DecodeBudget(), 0, 20_000))


@pytest.mark.parametrize("what", ["rows", "places"])
def test_an_index_that_is_wrong_is_not_followed(what: str) -> None:
    with opened("x", io.BytesIO(written(write_page_index=True))) as parquet:
        pages = located(parquet, 0, ["text"])
        assert pages is not None
        [rows] = pages.values()
        if what == "rows":
            rows.rows[4] += 1
        else:
            rows.starts[1:] -= 1
        with pytest.raises((FooterError, ValueError, pa.ArrowException, OSError)):
            parts_of(parquet, ["text"], int(rows.rows[4]), ROWS - 5, DecodeBudget())
        if what == "rows":
            assert not parquet.footer.pages  # looked for anew when it is read again


def test_an_index_of_damaged_bytes_is_no_index_or_the_same() -> None:
    data = written(write_page_index=True)
    chance = random.Random(5)
    with opened("x", io.BytesIO(data)) as parquet:
        [place] = parquet.footer.places(["text"]).tolist()
        begins = int(parquet.footer.index_starts[0, place])
        size = int(parquet.footer.index_sizes[0, place])
        right = locate_pages(io.BytesIO(data), parquet.footer, 0, place)
        assert right is not None
        refused = 0
        for _ in range(2_000):
            damaged = bytearray(data)
            for _ in range(chance.randrange(1, 4)):
                damaged[begins + chance.randrange(size)] = chance.randrange(256)
            found = locate_pages(io.BytesIO(damaged), parquet.footer, 0, place)
            refused += found is None
            assert found is None or found.rows[-1] == ROWS
        assert refused > 1_000
        huge = b"\x19\x1c\x16" + b"\xff" * 9 + b"\x01\x15\x02\x16\x00\x00\x00"
        for index in (huge, b"\x15\x02\x00", b"\x19\x18\x01x\x00"):
            damaged = bytearray(data)
            damaged[begins : begins + len(index)] = index
            assert locate_pages(io.BytesIO(damaged), parquet.footer, 0, place) is None


def test_rows_of_nested_pages_are_those_that_the_pages_say_themselves() -> None:
    data = written(write_page_index=True, data_page_version="2.0")
    with opened("x", io.BytesIO(data)) as parquet:
        pages = located(parquet, 0, ["candidates"])
        assert pages is not None
        for rows in pages.values():
            if len(rows.rows) > 3:
                rows.rows[1] += 1
        with pytest.raises(FooterError, match=r"rows were announced, and \d+ are there"):
            parts_of(parquet, ["candidates"], 0, 1, DecodeBudget())


def test_large_row_groups_are_read_so(tmp_path: Any) -> None:
    chance = random.Random(1)
    texts = [chance.randbytes(8192).hex() for _ in range(1500)]
    lists = [[{"doc_id": str(i), "text": text}] for i, text in enumerate(texts)]
    large = pa.table({"text": texts, "candidates": lists})
    pq.write_table(large, tmp_path / "x.parquet", write_page_index=True, compression="none")
    assert (tmp_path / "x.parquet").stat().st_size > 2 * LARGE_BYTES
    found = list(read_rows(str(tmp_path / "x.parquet"), 700, 720, columns=["candidates", "text"]))
    assert pa.Table.from_batches(found).to_pylist() == (
        large.select(["candidates", "text"]).slice(700, 20).to_pylist()
    )
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    place = data.find(texts[710].encode())
    data[place - 3] ^= 0xFF  # the length of a value
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(InputContractError, match=r"x\.parquet, row group 0, column 'text': not"):
        list(read_rows(str(tmp_path / "x.parquet"), 700, 720, columns=["text"]))
