"""A corpus is looked into by the text of an id, and by nothing that resembles it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputContractError
from pipeline.staging.lookup import Lookup, key_hashes, key_text

FILES = ("one.parquet", "two.parquet")
IDS = st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=30)


def corpus(ids: list[str | None], texts: list[str | None] | None = None) -> pa.Table:
    texts = texts if texts is not None else [f"text of {doc_id}" for doc_id in ids]
    count = len(ids)
    return pa.table(
        {
            "doc_id": pa.array(ids, pa.string()),
            "text": pa.array(texts, pa.string()),
            "_file": pa.array([0] * count, pa.int32()),
            "_row": pa.array(range(count), pa.int64()),
            "_item": pa.array([0] * count, pa.int32()),
        }
    )


def looked_up(lookup: Lookup, ids: pa.Array) -> list[str | None]:
    [texts] = lookup.take(["text"], lookup.places(key_text(ids))).values()
    return texts.to_pylist()


@given(IDS, IDS)
def test_it_finds_what_a_dictionary_finds(stored: list[str | None], wanted: list[str]) -> None:
    lookup = Lookup.of(corpus(stored), "doc_id", role="corpus", files=FILES)
    known = {doc_id: f"text of {doc_id}" for doc_id in stored if doc_id is not None}
    asked = [*wanted, *stored]
    assert looked_up(lookup, pa.array(asked, pa.string())) == [known.get(one) for one in asked]


def test_ids_that_share_a_hash_are_told_apart() -> None:
    whole = Lookup.of(corpus(["a", "b", "c"]), "doc_id", role="corpus", files=FILES)
    hashed = key_hashes(pa.array(["b"]))
    same = Lookup(rows=whole.rows, order=np.arange(3), hashes=np.repeat(hashed, 3))
    assert looked_up(same, pa.array(["b"])) == ["text of b"]


def test_the_text_of_an_id_is_what_is_compared() -> None:
    stored = ["7", "9007199254740993", "é", "A"]
    lookup = Lookup.of(corpus(stored), "doc_id", role="corpus", files=FILES)
    whole = pa.array([7, 2**53 + 1, 2**53], pa.int64())
    assert looked_up(lookup, whole) == ["text of 7", f"text of {2**53 + 1}", None]
    alike = pa.array(["007", "7 ", "e\u0301", "a", "é"])
    assert looked_up(lookup, alike) == [None, None, None, None, "text of é"]


def test_an_id_with_two_contents_shows_both_and_their_places() -> None:
    rows = corpus(["a", "b", "a"], ["one", "two", "x" * 200])
    with pytest.raises(InputContractError) as caught:
        Lookup.of(rows, "doc_id", role="corpus", files=FILES)
    said = str(caught.value)
    assert "input.corpus: id 'a' stands twice" in said
    assert "'one' at one.parquet, row or byte 0" in said
    assert "at one.parquet, row or byte 2" in said
    assert "x" * 100 not in said


def test_equal_rows_are_one() -> None:
    rows = corpus(["a", "b", "a", "a"], ["one", "two", "one", "one"])
    lookup = Lookup.of(rows, "doc_id", role="corpus", files=FILES)
    assert len(lookup.hashes) == 2
    assert looked_up(lookup, pa.array(["a", "b"])) == ["one", "two"]


def test_an_empty_corpus_has_nothing(tmp_path: Path) -> None:
    lookup = Lookup.of(corpus([]), "doc_id", role="corpus", files=FILES)
    assert looked_up(lookup, pa.array(["a", None], pa.string())) == [None, None]
