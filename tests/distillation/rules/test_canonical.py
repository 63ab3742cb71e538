from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.distillation.rules import canonical
from pipeline.distillation.rules.rows import Chosen, Pool, split_images, training_rows
from pipeline.errors import InputContractError, NotFoundError

DESCRIPTION = {
    "set_id": "abc",
    "teachers": [],
    "combination": {"method": "mean"},
    "rules": {},
    "split": "train",
    "counts": {"queries": 1},
}


def pool() -> Pool:
    return Pool(
        doc_ids=pa.array(["a", "b", "c", "d"]),
        texts=pa.array(["text a", None, "text c", "text d"]),
        image_bytes=pa.array([None, b"png", None, None], pa.binary()),
        image_uris=pa.array([None, None, "s3://b/c.png", None], pa.string()),
        scores=np.array([1.5, -2, 0.25, np.nan], dtype=np.float32),
        ranks=np.array([1, 3, 2, 0], dtype=np.int32),
        relevance=np.array([2, 0, 0, 1]),
        judged=np.array([True, False, False, True]),
    )


def queries() -> pa.Table:
    image = pa.array([None, {"bytes": b"q", "path": None}], canonical.QUERY_IMAGE_TYPE)
    return pa.table({"query_id": ["q0", "q1"], "query": ["zero", None], "query_image": image})


def test_rows_hold_what_their_places_say() -> None:
    chosen = [Chosen(query=1, positives=[0, 3], from_qrels=[False, True], negatives=[2, 1])]
    (row,) = training_rows(queries(), pool(), chosen).to_pylist()
    assert (row["query_id"], row["query"], row["query_image"]["bytes"]) == ("q1", None, b"q")
    first, second = row["positives"]
    assert first == {
        "doc_id": "a", "text": "text a", "image": None, "image_uri": None, "score": 1.5,
        "relevance": 2, "rank": 1, "source": "teacher",
    }  # fmt: skip
    assert (second["score"], second["rank"], second["source"]) == (None, None, "qrels")
    assert [item["doc_id"] for item in row["negatives"]] == ["c", "b"]
    assert (row["negatives"][0]["image_uri"], row["negatives"][1]["image"]) == (
        "s3://b/c.png",
        b"png",
    )


def test_parts_are_read_back_in_order_and_described(tmp_path: Path) -> None:
    chosen = [Chosen(query=0, positives=[0], from_qrels=[True], negatives=[1])]
    rows = training_rows(queries(), pool(), chosen)
    data = canonical.part_bytes(rows, DESCRIPTION)
    assert data == canonical.part_bytes(rows, dict(reversed(DESCRIPTION.items())))
    for place in (0, 100_000, 99_999):
        path = Path(canonical.part_path(str(tmp_path), "train", place))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    names = [Path(path).name for path in canonical.part_paths(str(tmp_path), "train")]
    assert names == ["part-00000.parquet", "part-99999.parquet", "part-100000.parquet"]
    parts = list(canonical.read_parts(str(tmp_path), "train"))
    assert len(parts) == 3
    assert parts[0].equals(rows)
    assert canonical.part_paths(str(tmp_path), "dev") == []
    assert canonical.read_description(str(tmp_path)) == DESCRIPTION


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputContractError, match="expected columns"):
        canonical.part_bytes(pa.table({"query_id": ["a"]}), DESCRIPTION)
    rows = canonical.SCHEMA.empty_table()
    with pytest.raises(InputContractError, match="expected a description of set_id"):
        canonical.part_bytes(rows, {"split": "train"})
    pq.write_table(pa.table({"query_id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(InputContractError, match="not a part of a canonical training set"):
        canonical.read_part(str(tmp_path / "x.parquet"))
    with pytest.raises(NotFoundError, match="no canonical training set"):
        canonical.read_description(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "data", "places"),
    [
        (None, [None, None], [None, None]),
        (pa.array([b"x", None], pa.large_binary()), [b"x", None], [None, None]),
        (pa.array(["a.png", None]), [None, None], ["a.png", None]),
        (pa.array([{"bytes": b"x", "path": "p"}, None]), [b"x", None], ["p", None]),
        (pa.array([{"path": "p"}, {"path": None}]), [None, None], ["p", None]),
    ],
)
def test_images_keep_their_bytes_or_their_place(
    values: pa.Array | None, data: list[bytes | None], places: list[str | None]
) -> None:
    found = split_images(values, 2)
    assert [column.to_pylist() for column in found] == [data, places]


def test_an_image_column_of_numbers_is_refused() -> None:
    with pytest.raises(InputContractError, match="found int64"):
        split_images(pa.array([1, 2]), 2)
