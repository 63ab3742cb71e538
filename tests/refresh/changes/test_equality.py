"""Values of any type are compared as they are."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.refresh.changes.equality import differ

PLACE = pa.struct([("lang", pa.string()), ("x", pa.float64())])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int32(), [1, 2, None]),
        (pa.string(), ["a", "", "b", None]),
        (pa.bool_(), [True, False, None]),
        (pa.binary(), [b"a", b"", None]),
        (pa.float32(), [0.0, -0.0, 1.5, math.inf, math.nan, None]),
        (pa.float16(), [0.0, -0.0, 1.5, None]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None]),
        (PLACE, [{"lang": "de", "x": 1.0}, {"lang": None, "x": math.nan}, None]),
        (pa.list_(pa.float32()), [[1.0], [1.0, 2.0], [1.0, None], [math.nan], [], None]),
        (pa.large_list(pa.string()), [["a"], ["b"], ["a", "b"], [], None]),
        (pa.list_(pa.int8(), 2), [[1, 2], [2, 1], [1, None], None]),
        (pa.list_(pa.list_(PLACE)), [[[{"lang": "a", "x": 1.0}], []], [[], []], [[]], [None], []]),
        (pa.map_(pa.string(), pa.int32()), [[("a", 1)], [("a", 2)], [("b", 1)], [], None]),
        (pa.null(), [None]),
    ],
    ids=str,
)
def test_a_value_is_the_same_as_itself_alone(kind: pa.DataType, values: list[Any]) -> None:
    count = len(values)
    one = pa.array([value for value in values for _ in range(count)], kind)
    other = pa.array(values * count, kind)
    expected = [row // count != row % count for row in range(count * count)]
    assert differ(one, other).tolist() == expected
    # A piece of an array has an offset, which its children have, too.
    assert differ(one.slice(1), other.slice(1)).tolist() == expected[1:]


nested = st.lists(st.none() | st.lists(st.none() | st.integers(0, 2), max_size=3), max_size=6)


@given(nested, nested)
def test_lists_are_compared_as_python_does(one: list[Any], other: list[Any]) -> None:
    rows = min(len(one), len(other))
    kind = pa.list_(pa.int8())
    found = differ(pa.array(one[:rows], kind), pa.array(other[:rows], kind))
    assert found.tolist() == [a != b for a, b in zip(one, other, strict=False)]
