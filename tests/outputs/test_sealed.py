"""The seal of JSON files; that of Parquet is tested with the runs that carry it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.outputs.sealed import NotWholeError, is_whole, sealed_json, unsealed_json
from pipeline.storage.packed_items import PackedItems

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
CONTENTS = st.dictionaries(st.text(max_size=6).filter(lambda key: key != "seal"), VALUES)


@given(CONTENTS, st.integers(0, 10**9), st.binary(min_size=1, max_size=9))
def test_what_was_sealed_comes_back_or_nothing_does(
    content: dict[str, Any], place: int, more: bytes
) -> None:
    data = sealed_json(content)
    assert data == sealed_json(content)
    assert unsealed_json(data) == content
    whole = {**content, "seal": json.loads(data)["seal"]}
    assert data == json.dumps(whole, indent=2).encode() + b"\n"
    flipped = bytearray(data)
    flipped[place // 8 % len(data)] ^= 1 << place % 8
    for damaged in (bytes(flipped), data[: place % len(data)], data + more, more + data):
        assert not is_whole(damaged)
        with pytest.raises(NotWholeError):
            unsealed_json(damaged)


@given(CONTENTS, st.lists(VALUES, max_size=4))
def test_packed_items_are_sealed_as_a_list_is(content: dict[str, Any], items: list[Any]) -> None:
    data = sealed_json({**content, "items": items})
    assert sealed_json({**content, "items": PackedItems(items)}) == data
    found = unsealed_json(data, packed="items")
    assert found == {**content, "items": items}
    assert isinstance(found["items"], PackedItems if items else list)


@given(st.binary(max_size=200))
def test_what_was_never_sealed_is_not_read(data: bytes) -> None:
    with pytest.raises(NotWholeError):
        unsealed_json(data)


def test_a_text_that_looks_like_a_seal_is_none() -> None:
    content = {"words": "sha256-of-file-with-zeros-here:" + "0" * 64}
    assert unsealed_json(sealed_json(content)) == content


@given(st.text(max_size=50) | VALUES.map(json.dumps))
def test_only_counts_are_read_as_counts(text: str) -> None:
    with pytest.raises(ValueError):
        UnitCounts.from_metadata(text)


@pytest.mark.parametrize(
    "change",
    [
        {"parts": -1},
        {"queries": "1"},
        {"reasons": []},
        {"special_tokens": {"queries": -1}},
        {"query_hashes": 5},
        {"more": 1},
    ],
)
def test_counts_of_another_form_are_refused(change: dict[str, object]) -> None:
    whole = UnitCounts(unit="u", queries=1, documents=2, tokens=3)
    text = whole.to_metadata()
    assert UnitCounts.from_metadata(text).summary() == whole.summary()
    with pytest.raises(ValueError, match=r"not the counts of a unit|base64|bytes"):
        UnitCounts.from_metadata(json.dumps(json.loads(text) | change))
