"""``input.filter``: what is a list of conditions, and how what is none is refused."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.config.conditions import OPERATORS, refuse_malformed

GOOD: list[Any] = [
    [["lang", "==", "en"]],
    [["lang", "==", "en"], ["score", ">", 0.5]],
    [[["lang", "in", ["en", "de"]]], [["score", "not in", [1, 2]], ["n", "<=", 3]]],
]


@pytest.mark.parametrize("conditions", [None, *GOOD])
def test_conditions_that_arrow_takes_are_accepted(conditions: Any) -> None:
    refuse_malformed(conditions)
    if conditions is not None:
        pq.filters_to_expression(conditions)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_is_one_of_arrow(operator: str) -> None:
    condition = ["a", operator, [1] if "in" in operator else 1]
    refuse_malformed([condition])
    pq.filters_to_expression([condition])


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([], "holds no condition"),
        (["lang"], "'lang' is no condition"),
        ([["lang", "=="]], "is no condition"),
        ([[1, "==", 2]], "is no condition"),
        ([["lang", "~", "en"]], "unknown operator '~'"),
        ([["lang", "in", "en"]], "takes a list of values"),
        ([["lang", "==", ["en"]]], "takes a single value"),
    ],
)
def test_others_are_refused(conditions: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        refuse_malformed(conditions)
