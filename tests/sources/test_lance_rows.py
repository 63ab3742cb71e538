"""Lance tables of any layout give the rows that the same table gives as Parquet."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.source import Source, open_source, read_shard

COUNT = 50

LONG = pa.table(
    {
        "query_id": pa.array([f"q{n // 5}" for n in range(COUNT)]).dictionary_encode(),
        "query": [f"query {n // 5}" for n in range(COUNT)],
        "doc_id": pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([uuid.UUID(int=n).bytes for n in range(COUNT)], pa.binary(16))
        ),
        "text": pa.array([f"text {n}" if n % 7 else None for n in range(COUNT)], pa.large_string()),
        "score": [n / 2 for n in range(COUNT)],
        "lang": [("de", "en", None)[n % 3] for n in range(COUNT)],
        "my note": pa.array([[n, n + 1] for n in range(COUNT)], pa.list_(pa.int16(), 2)),
        "vector": pa.array([[0.5] * 4] * COUNT, pa.list_(pa.float32(), 4)),
    }
)

NESTED = pa.table(
    {
        "query_id": [1, 2, 3],
        "query": ["one", "two", "three"],
        "candidates": pa.ListArray.from_arrays(
            pa.array([0, 5, 5, COUNT], pa.int32()),
            pa.StructArray.from_arrays(
                [LONG.column(name).combine_chunks() for name in ("doc_id", "text", "score")],
                ["doc_id", "text", "first_stage_score"],
            ),
        ),
    }
)


class Loaded(pa.ExtensionType):
    """A type of a library that has been loaded, which notices when it is made from a schema."""

    made = 0

    def __init__(self) -> None:
        super().__init__(pa.string(), "tests.loaded")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"anything"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Loaded:
        cls.made += 1
        return cls()


def opened(path: Path, **settings: Any) -> Source:
    passed = tuple(settings.pop("passed", ()))
    config = InputConfig(path=str(path), **settings)
    return open_source("candidates", [str(path)], config, pass_through=passed)


def rows_of(source: Source, target: int) -> pa.Table:
    tables = [t for shard in source.shards(target) for t in read_shard(source, shard)]
    return pa.concat_tables(tables).combine_chunks()


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        (LONG, {}),
        (LONG, {"filter": [["lang", "==", "de"], ["score", ">", 5]], "passed": ["my note"]}),
        (NESTED, {}),
        (NESTED, {"filter": [["query_id", "in", [2, 3]]]}),
    ],
)
@pytest.mark.parametrize("target", [1, 700, 1 << 20])
def test_rows_are_those_of_the_same_table_as_parquet(
    table: pa.Table, settings: dict[str, Any], target: int, tmp_path: Path
) -> None:
    lance.write_dataset(table, tmp_path / "t.lance", max_rows_per_file=16)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=16)
    source = opened(tmp_path / "t.lance", **settings)
    reference = opened(tmp_path / "t.parquet", **settings)
    assert (source.format, source.rows) == ("lance", table.num_rows)
    assert source.schema == reference.schema
    assert rows_of(source, target).equals(rows_of(reference, 1 << 20))
    shards = source.shards(target)
    assert [shard.start for shard in shards[1:]] == [shard.stop for shard in shards[:-1]]
    assert len(shards) == {1: table.num_rows, 1 << 20: 1}.get(target, len(shards))


def test_rows_that_are_deleted_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    lance.write_dataset(LONG, path, max_rows_per_file=20)
    lance.dataset(path).delete("score < 11 AND score > 1 OR lang = 'de'")
    kept = [n for n in range(COUNT) if not (2 < n < 22 or n % 3 == 0)]
    for target in (1, 1000):
        found = rows_of(opened(path), target)
        assert found.column("first_stage_score").to_pylist() == [n / 2 for n in kept]
        assert found.column("_row").to_pylist() == list(range(len(kept)))
    lance.dataset(path).delete("true")
    assert opened(path).shards(1) == []


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    lance.write_dataset(LONG, path)
    source = opened(path)
    (file,) = (path / "data").iterdir()
    assert source.size_bytes < LONG.nbytes - LONG.column("vector").nbytes
    wanted = {"query_id", "query", "doc_id", "text", "score"}
    assert set(source.opened[0].columns.top()) == wanted
    assert file.stat().st_size < source.files[0].size


def test_columns_that_a_library_interprets_are_refused_and_never_resolved(tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    pa.register_extension_type(Loaded())
    try:
        texts = pa.ExtensionArray.from_storage(Loaded(), pa.array(["x"] * COUNT))
        within = pa.StructArray.from_arrays([texts], ["note"])
        table = LONG.append_column("title", texts).append_column("extra", within)
        lance.write_dataset(table, path)
        Loaded.made = 0
        with pytest.raises(InputContractError, match=r"column 'title' is of the extension type '"):
            opened(path)
        with pytest.raises(InputContractError, match=r"column 'extra\.note' is of the ext"):
            opened(path, text_columns=["text"], passed=["extra"])
        with pytest.raises(InputContractError, match=r"column 'title' is of the extension type '"):
            opened(path, text_columns=["text"], filter=[["title", "==", "x"]])
        assert rows_of(opened(path, text_columns=["text"]), 1 << 20).num_rows == COUNT
        assert Loaded.made == 0
    finally:
        pa.unregister_extension_type("tests.loaded")


@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_blobs_are_refused_by_name(version: str, tmp_path: Path) -> None:
    field = pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
    table = LONG.append_column(field, pa.array([b"png"] * COUNT, pa.large_binary()))
    lance.write_dataset(table, tmp_path / "t.lance", data_storage_version=version)
    with pytest.raises(InputContractError, match=r"column 'image' is of the ext.*'lance\.blob"):
        opened(tmp_path / "t.lance")


def test_json_is_text(tmp_path: Path) -> None:
    kept = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}'] * COUNT))
    table = LONG.set_column(3, "text", kept)
    lance.write_dataset(table, tmp_path / "t.lance", data_storage_version="2.2")
    found = rows_of(opened(tmp_path / "t.lance"), 1 << 20)
    assert set(found.column("text").to_pylist()) == {'{"a":1}'}


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    lance.write_dataset(LONG, path)
    with pytest.raises(InputContractError, match=r"input\.filter names 'year', which is not there"):
        opened(path, filter=[["year", "==", 1]])
    with pytest.raises(InputContractError, match=r"input\.format is tsv, but this is a Lance tabl"):
        opened(path, format="tsv")
    with pytest.raises(InputContractError, match=r"t\.lance: .*maps 'doc_id' to 'nothing'"):
        opened(path, columns={"doc_id": "nothing"})
    pq.write_table(LONG, tmp_path / "t.parquet")
    paths = [str(path), str(tmp_path / "t.parquet")]
    with pytest.raises(InputContractError, match=r"is Parquet, but .*t\.lance is a Lance table"):
        open_source("candidates", paths, InputConfig(path=tuple(paths)))


def test_a_value_that_does_not_fit_is_named_by_table_and_row(tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    wrong = LONG.drop_columns(["score"]).append_column("score", [["1.5"] * 40 + ["much"] * 10])
    lance.write_dataset(wrong, path, max_rows_per_file=16)
    lance.dataset(path).delete("doc_id IS NOT NULL AND text = 'text 1'")
    with pytest.raises(InputContractError, match=r"t\.lance.*row 39\b.*'score'"):
        rows_of(opened(path), 300)
