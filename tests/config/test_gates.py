"""Limits of gates are checked when they are read."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from pipeline.config.gates import GATES, Depth, GatesConfig
from pipeline.refresh.changes.statistics import DEPTHS


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"min_ndcg": 0.3}, "min_ndcg is set and qrels is not"),
        ({"qrels": "q.txt"}, "qrels is set and min_ndcg is not"),
        ({"top_k": 7}, "top_k"),
        ({"min_overlap": 1.1}, "min_overlap"),
        ({"max_row_change": float("inf")}, "max_row_change"),
        ({"overlap": 0.5}, "overlap"),
    ],
)
def test_settings_are_checked(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        GatesConfig(**given)


def test_every_gate_can_be_off() -> None:
    off = GatesConfig(**dict.fromkeys(GATES))
    assert len(GATES) == 6
    assert all(getattr(off, name) is None for name in GATES)


def test_depths_are_those_that_are_measured() -> None:
    assert get_args(Depth) == DEPTHS
