"""Packed items come back as they were, and their text is that of :mod:`json`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.packed_items import PackedItems, without_array

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def written(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()


@given(items=st.lists(VALUES, max_size=5), repeats=st.sampled_from([1, 60, 256]), after=VALUES)
def test_items_go_into_a_file_and_come_out_as_they_were(
    items: list[Any], repeats: int, after: Any
) -> None:
    items = items * repeats
    packed = PackedItems(items)
    data = written({"before": [1], "items": items, "after": after})
    assert b"".join([b'{\n  "before": [\n    1\n  ],\n  "items": ', *packed.text()]) in data
    rest, found = without_array(data, "items")
    assert json.loads(rest) == {"before": [1], "items": [], "after": after}
    assert packed == items == list(packed)
    assert (found is None) == (not items)
    if found is not None:
        assert found == packed == found
        assert (found[-1], found[: len(items) // 2]) == (items[-1], items[: len(items) // 2])
        assert found != items[1:]
        assert found != [*items[:-1], "another"]


@pytest.mark.parametrize("count", [1, 255, 256, 257, 512, 1_000])
def test_blocks_are_the_same_however_they_came(count: int) -> None:
    items = [{"unit": f"{number:024x}", "files": [{"rows": number}]} for number in range(count)]
    packed = PackedItems(items)
    _, found = without_array(written({"items": items}), "items")
    assert found is not None
    assert [*found.text()] == [*packed.text()]
    assert [found[place] for place in range(-count, count)] == items * 2
    with pytest.raises(IndexError):
        found[count]


@pytest.mark.parametrize(
    "data",
    [
        b'{"items": [1, 2]}',
        b'{\n "before": {\n  "items": [\n    1\n  ]\n }\n}',  # by another indentation, further in
        written({"items": {"0": 1}}),
        written({"before": {"items": [1, 2]}}),
        written({"items": []}),
    ],
)
def test_what_is_written_otherwise_is_left_where_it_is(data: bytes) -> None:
    assert without_array(data, "items") == (data, None)


@pytest.mark.parametrize("text", ["1 2", "1,\n    ", "{", "1], [2", "\xff"])
def test_a_text_that_is_none_is_noticed_as_it_is_read(text: str) -> None:
    data = f'{{\n  "items": [\n    {text}\n  ]\n}}'.encode("latin-1")
    _, found = without_array(data, "items")
    assert found is not None
    with pytest.raises(ValueError):
        list(found)
