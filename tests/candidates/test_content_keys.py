"""Content keys: equal exactly where a model would be shown the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import schema
from pipeline.candidates.content_keys import content_keys
from pipeline.candidates.lists import CandidateLists

#: Texts that a careless encoding would mix up, with each other or with images.
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab", "a b", "é", "n", "t\x01"]))
IMAGES = st.one_of(st.none(), st.sampled_from([b"", b"a", b"ab", b"\x01"]))
REASONS = st.sampled_from([None, None, None, "null_text"])


@st.composite
def lists_of_candidates(draw: st.DrawFn) -> CandidateLists:
    """Up to four lists with images, reasons and first-stage ranks."""
    count = draw(st.integers(1, 4))
    lengths = [draw(st.integers(0, 4)) for _ in range(count)]
    total = sum(lengths)

    def column(values: st.SearchStrategy[Any], size: int, kind: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(values, min_size=size, max_size=size)), kind)

    return CandidateLists(
        queries=pa.table(
            {
                schema.QUERY_ID: pa.array([str(n) for n in range(count)], pa.string()),
                schema.QUERY: column(TEXTS, count, pa.string()),
                schema.IMAGE: column(IMAGES, count, pa.binary()),
            }
        ),
        offsets=np.cumsum([0, *lengths]),
        documents=pa.table(
            {
                schema.DOC_ID: pa.array([str(n) for n in range(total)], pa.string()),
                schema.TEXT: column(TEXTS, total, pa.string()),
                schema.FIRST_STAGE_SCORE: column(st.floats(0, 1), total, pa.float64()),
                schema.FIRST_STAGE_RANK: column(st.integers(1, 9), total, pa.int32()),
                schema.REASON: column(REASONS, total, pa.string()),
                schema.IMAGE: column(IMAGES, total, pa.binary()),
            }
        ),
    )


def shown(lists: CandidateLists, *, pointwise: bool) -> list[object]:
    """What a score depends on, document by document; None where a reason stands."""
    queries, rows = lists.queries.to_pylist(), lists.documents.to_pylist()
    found: list[object] = [None] * len(rows)
    for number, query in enumerate(queries):
        asked = (query[schema.QUERY], query[schema.IMAGE])
        first, last = lists.offsets[number : number + 2]
        kept = [place for place in range(first, last) if rows[place][schema.REASON] is None]
        contents = tuple((rows[p][schema.TEXT], rows[p][schema.IMAGE]) for p in kept)
        by_rank = tuple(np.argsort([rows[p][schema.FIRST_STAGE_RANK] for p in kept], kind="stable"))
        for nth, place in enumerate(kept):
            whole = (asked, contents, by_rank, nth)
            found[place] = (asked, contents[nth]) if pointwise else whole
    return found


def keys_of(lists: CandidateLists, *, pointwise: bool, fingerprint: str = "f") -> list[Any]:
    keys = content_keys(lists, pointwise=pointwise, fingerprint=fingerprint)
    assert keys.type == pa.binary(16)
    found: list[Any] = keys.to_pylist()
    return found


@pytest.mark.parametrize("pointwise", [True, False])
@given(lists_of_candidates())
def test_keys_are_equal_exactly_where_what_is_shown_is(
    pointwise: bool, lists: CandidateLists
) -> None:
    keys, expected = keys_of(lists, pointwise=pointwise), shown(lists, pointwise=pointwise)
    by_key: dict[Any, set[object]] = {}
    for key, one in zip(keys, expected, strict=True):
        by_key.setdefault(key, set()).add(one)
    assert all(len(ones) == 1 for ones in by_key.values())
    assert len(by_key) == len(set(expected))
    assert by_key.get(None, {None}) == {None}


@pytest.mark.parametrize("pointwise", [True, False])
@given(lists_of_candidates())
def test_ids_and_first_stage_scores_are_no_part_of_them(
    pointwise: bool, lists: CandidateLists
) -> None:
    count = lists.documents.num_rows
    documents = lists.documents
    for name, kind in ((schema.DOC_ID, pa.int64()), (schema.FIRST_STAGE_SCORE, pa.float64())):
        index = documents.column_names.index(name)
        documents = documents.set_column(index, name, pa.array(range(count), kind))
    ids = pa.array(range(len(lists)), pa.int64())
    other = replace(
        lists, documents=documents, queries=lists.queries.set_column(0, "query_id", ids)
    )
    assert keys_of(other, pointwise=pointwise) == keys_of(lists, pointwise=pointwise)


@given(st.text(max_size=3), st.text(max_size=3))
def test_the_fingerprint_is(one: str, other: str) -> None:
    lists = CandidateLists.from_texts("q", ["a"])
    keys = [keys_of(lists, pointwise=True, fingerprint=each) for each in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert keys[0] != keys_of(lists, pointwise=False, fingerprint=one)


def with_images(images: pa.Array) -> list[Any]:
    lists = CandidateLists.from_texts("q", ["a"] * len(images))
    documents = lists.documents.append_column(schema.IMAGE, images)
    return keys_of(replace(lists, documents=documents), pointwise=True)


def test_an_image_is_known_by_its_bytes_however_its_column_is_made() -> None:
    inline, places = [b"png", None, b"jpg"], ["1.png", "2.png", None]
    both = pa.StructArray.from_arrays([pa.array(inline), pa.array(places)], names=["bytes", "path"])
    keys = with_images(pa.array(inline, pa.binary()))
    assert with_images(pa.array(inline, pa.large_binary())) == keys
    assert with_images(pa.array(inline, pa.binary()).dictionary_encode()) == keys
    mixed = with_images(both)
    assert [mixed[0], mixed[2]] == [keys[0], keys[2]]
    assert mixed[1] is None, "it is read from a place"
    inside = with_images(pa.array(["data:image/png;base64,YQ==", "DATA:image/png;base64,YQ=="]))
    assert None not in inside and not {*inside} & {*keys}


def test_what_lies_at_a_place_may_change_and_has_no_key() -> None:
    lists = CandidateLists.from_texts("q", ["a", "b", "c"])
    places = pa.array([None, "s3://pages/1.png", None])
    documents = lists.documents.append_column(schema.IMAGE, places)
    queries = lists.queries.append_column(schema.IMAGE, pa.array(["query.png"]))
    shown_by_place = replace(lists, documents=documents)

    alone = keys_of(shown_by_place, pointwise=True)
    assert alone[1] is None
    assert [alone[0], alone[2]] == [keys_of(lists, pointwise=True)[place] for place in (0, 2)]
    assert keys_of(shown_by_place, pointwise=False) == [None] * 3
    assert keys_of(replace(lists, queries=queries), pointwise=True) == [None] * 3

    text_only = content_keys(shown_by_place, pointwise=True, fingerprint="f", images=False)
    assert text_only.to_pylist() == keys_of(lists, pointwise=True)


@given(lists_of_candidates())
def test_columns_in_chunks_or_slices_make_no_difference(lists: CandidateLists) -> None:
    count = lists.documents.num_rows
    twice = pa.concat_tables([lists.documents, lists.documents]).combine_chunks()
    sliced = replace(lists, documents=twice.slice(count))
    halves = [lists.documents.slice(0, count // 2), lists.documents.slice(count // 2)]
    chunks = replace(lists, documents=pa.concat_tables(halves))
    for other in (sliced, chunks, CandidateLists.from_ipc(lists.to_ipc())):
        assert keys_of(other, pointwise=True) == keys_of(lists, pointwise=True)
        assert keys_of(other, pointwise=False) == keys_of(lists, pointwise=False)


def test_they_stay_as_they_are() -> None:
    """Another encoding makes every score of every earlier run unknown: raise the version then."""
    lists = CandidateLists.from_texts("a query", ["a text", "é"])
    keys = [keys_of(lists, pointwise=pointwise)[1].hex() for pointwise in (True, False)]
    assert keys == ["5b66307f9583dae27416c379d22bb36f", "ff5b465acd7431ae24da42a62c0ba08d"]
