from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pytest

from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.partitions import NULL_PARTITION, partitions_of
from pipeline.candidates.planning import plan_units
from pipeline.candidates.reading import count_rows_of_queries, read_lists
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from tests.makers import nested_table, write


def opened(folder: Path, *keep: str, **settings: object) -> Input:
    config = InputConfig.model_validate({"path": str(folder)} | settings)
    return open_input(config, pass_through=keep)


def rows(*doc_ids: str, query: str = "q") -> pa.Table:
    count = len(doc_ids)
    return pa.table(
        {"query_id": [query] * count, "query": ["x"] * count, "doc_id": doc_ids,
         "text": ["t"] * count}
    )  # fmt: skip


def partitioned(folder: Path) -> Path:
    write(folder / "lang=de/day=2026-01-01/x.parquet", rows("a", "b", query="1"))
    write(folder / "lang=pt%2FBR 50%/day=__HIVE_DEFAULT_PARTITION__/x.parquet", rows("c"))
    return folder


@pytest.mark.parametrize("nested", [False, True])
def test_folders_give_columns_to_every_row_below_them(tmp_path: Path, nested: bool) -> None:
    if nested:
        write(tmp_path / "lang=de/x.parquet", nested_table(rows("a", "b", query="1")))
        write(tmp_path / "lang=pt%2FBR/x.parquet", nested_table(rows("c")))
        source, days = opened(tmp_path, "lang"), None
    else:
        source, days = opened(partitioned(tmp_path), "lang", "day"), ["2026-01-01"] * 2 + [None]
    documents = read_lists(source, 0, source.rows).documents
    assert [lang[:5] for lang in documents["lang"].to_pylist()] == ["de", "de", "pt/BR"]
    assert documents.schema.field("lang").type == pa.string()
    assert days is None or documents["day"].to_pylist() == days


def test_a_partition_is_an_id_by_our_own_name_or_by_mapping(tmp_path: Path) -> None:
    table = rows("a", "b").drop_columns(["query_id"])
    for number in (7, 8):
        write(tmp_path / f"query_id={number}/topic=9/x.parquet", table)
    source = opened(tmp_path)
    assert source.columns.query_id == pa.string()
    assert read_lists(source, 0, 4).queries["query_id"].to_pylist() == ["7", "8"]
    # A unit that begins in the middle of a query looks at nothing but the path for its id.
    assert read_lists(source, 1, 3).queries["query_id"].to_pylist() == ["8"]
    assert count_rows_of_queries(source, 1) == 2
    source = opened(tmp_path, columns={"query_id": "topic"})
    assert read_lists(source, 0, 4).queries["query_id"].to_pylist() == ["9"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_partition_may_be_part_of_the_text(tmp_path: Path, nested: bool) -> None:
    table = nested_table(rows("a")) if nested else rows("a")
    write(tmp_path / "lang=de/x.parquet", table)
    lists = read_lists(opened(tmp_path, text_columns=["lang", "text"]), 0, 1)
    assert lists.documents["text"].to_pylist() == ["de t"]


def test_a_partition_is_never_found_by_an_alias(tmp_path: Path) -> None:
    write(tmp_path / "score=bm25/rank=best/title=T/x.parquet", rows("a"))
    documents = read_lists(opened(tmp_path), 0, 1).documents
    assert documents["first_stage_score"].to_pylist() == [None]
    assert documents["text"].to_pylist() == ["t"]
    write(tmp_path / "topics" / "topic=1" / "x.parquet", rows("a").drop_columns(["query_id"]))
    with pytest.raises(InputContractError, match=r"missing column 'query_id'.*text, topic;"):
        opened(tmp_path / "topics")


def test_a_column_of_the_file_wins_over_its_path(tmp_path: Path) -> None:
    table = rows("a", "b").append_column("lang", pa.array(["fr", "it"]))
    write(tmp_path / "lang=de/x.parquet", table)
    write(tmp_path / "lang=en/x.parquet", rows("c"))
    documents = read_lists(opened(tmp_path, "lang"), 0, 3).documents
    assert documents["lang"].to_pylist() == ["fr", "it", "en"]


def test_folders_that_disagree_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "lang=de/x.parquet", rows("a"))
    write(tmp_path / "region=eu/y.parquet", rows("b"))
    source = opened(tmp_path)
    assert source.rows == 2
    assert "partition folders disagree: lang= in the path of" in caplog.text
    with pytest.raises(
        InputContractError,
        match=r"region=eu/y\.parquet: no column 'lang'.*folders: region=\), while .*lang=de/x",
    ):
        opened(tmp_path, "lang")


def test_the_value_is_part_of_what_a_unit_is(tmp_path: Path) -> None:
    names = set()
    for value in ("de", "en"):
        folder = tmp_path / value
        write(folder / f"lang={value}/x.parquet", rows("a"))
        plan = plan_units(opened(folder, "lang"), documents=10, fingerprint="f")
        names.add(plan.units[0].name)
    assert len(names) == 2


VALUES = ["de", "a b", "50%", "a/b", "x=y", "\u00e9", "e\u0301", "#?*[1]", "+", None]


def test_what_pyarrow_writes_is_read_back(tmp_path: Path) -> None:
    table = rows(*map(str, range(len(VALUES)))).append_column("lang", pa.array(VALUES))
    ids = pa.array([f"q{number}" for number in range(len(VALUES))])
    table = table.set_column(0, "query_id", ids)
    hive = pads.partitioning(pa.schema([("lang", pa.string())]), flavor="hive")
    pads.write_dataset(table, tmp_path, format="parquet", partitioning=hive)
    documents = read_lists(opened(tmp_path, "lang"), 0, len(VALUES)).documents
    found = dict(zip(documents["doc_id"].to_pylist(), documents["lang"].to_pylist(), strict=True))
    assert found == {str(number): value for number, value in enumerate(VALUES)}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a=1/b=2/c=3.parquet", {"a": "1", "b": "2"}),
        ("s3://bucket/x%3Dy=1%2F2/f", {"x=y": "1/2"}),
        ("/a=1/b/a=2/f", {"a": "2"}),
        ("/=1/a=/b/f", {"a": ""}),
        (f"/a={NULL_PARTITION}/f", {"a": None}),
        ("/a=%ff%zz/f", {"a": "%ff%zz"}),
    ],
)
def test_folders_are_taken_apart(path: str, expected: dict[str, str | None]) -> None:
    assert partitions_of(path) == expected
