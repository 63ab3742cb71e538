"""Candidate lists: which pairs of a query and a document are the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import schema
from pipeline.candidates.lists import CandidateLists


def lists_of(queries: list[tuple[str | None, list[str | None]]]) -> CandidateLists:
    texts = [text for _, documents in queries for text in documents]
    one = CandidateLists.from_texts("", texts)
    return CandidateLists(
        queries=pa.table(
            {
                schema.QUERY_ID: pa.array([str(i) for i in range(len(queries))], pa.string()),
                schema.QUERY: pa.array([query for query, _ in queries], pa.string()),
            }
        ),
        offsets=np.cumsum([0, *(len(documents) for _, documents in queries)]),
        documents=one.documents,
    )


def shown(lists: CandidateLists) -> list[tuple[object, ...]]:
    """What a model sees of each document."""
    rows = lists.queries.to_pylist()
    return [
        (rows[query].get("query"), rows[query].get("image"), row.get("text"), row.get("image"))
        for query, row in zip(lists.query_of_document, lists.documents.to_pylist(), strict=True)
    ]


TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "a ", "é"]))


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=6)), max_size=5))
def test_each_pair_is_kept_once_in_order_and_found_again(
    queries: list[tuple[str | None, list[str | None]]],
) -> None:
    lists = lists_of(queries)
    distinct, pairs = lists.distinct_pairs()
    expected = shown(lists)
    assert shown(distinct) == list(dict.fromkeys(expected))
    assert [shown(distinct)[pair] for pair in pairs] == expected
    assert len(distinct) == len(lists)
    again, same = distinct.distinct_pairs()
    assert again.documents.num_rows == distinct.documents.num_rows
    assert same.tolist() == list(range(again.documents.num_rows))


IMAGES = [b"one", b"two", None, b"one", b"one", b"two"]
NAMES = ["one", "two", None, "one", "one", "two"]


@pytest.mark.parametrize(
    "images",
    [
        pa.array(IMAGES, pa.binary()),
        pa.array(IMAGES, pa.large_binary()),
        pa.chunked_array([pa.array(IMAGES[:2], pa.binary()), pa.array(IMAGES[2:], pa.binary())]),
        pa.array(NAMES, pa.string()),
        pa.array(NAMES, pa.string()).dictionary_encode(),
        pa.array([None if i is None else {"bytes": i, "path": None} for i in IMAGES]),
        pa.array([None if n is None else {"bytes": None, "path": n} for n in NAMES]),
    ],
    ids=lambda images: str(images.type),
)
def test_images_are_compared_by_content(images: pa.Array | pa.ChunkedArray) -> None:
    lists = lists_of([("q", ["same"] * len(IMAGES))])
    with_images = CandidateLists(
        queries=lists.queries,
        offsets=lists.offsets,
        documents=lists.documents.append_column(schema.IMAGE, images),
    )
    distinct, pairs = with_images.distinct_pairs()
    assert distinct.documents.column(schema.DOC_ID).to_pylist() == ["0", "1", "2"]
    assert pairs.tolist() == [0, 1, 2, 0, 0, 1]


def test_query_images_tell_equal_queries_apart() -> None:
    lists = lists_of([("q", ["a"]), ("q", ["a"]), ("q", ["a"])])
    images = pa.array([b"one", b"two", b"one"])
    with_images = CandidateLists(
        queries=lists.queries.append_column(schema.IMAGE, images),
        offsets=lists.offsets,
        documents=lists.documents,
    )
    distinct, pairs = with_images.distinct_pairs()
    assert distinct.offsets.tolist() == [0, 1, 2, 2]
    assert pairs.tolist() == [0, 1, 0]


def test_what_a_model_is_not_shown_does_not_tell_documents_apart() -> None:
    lists = lists_of([("q", ["a", "a"])])
    passed = pa.array([1, 2])
    more = CandidateLists(
        queries=lists.queries,
        offsets=lists.offsets,
        documents=lists.documents.append_column("price", passed),
    )
    assert more.distinct_pairs()[1].tolist() == [0, 0]
