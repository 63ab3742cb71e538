"""Scores come due a few each night, every one once in so many nights."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hashes import stable_hashes
from pipeline.refresh.reuse.ages import expired

FIRST = datetime.date(2026, 3, 1)
DAYS = st.dates(datetime.date(1960, 1, 1), datetime.date(2100, 1, 1))


@given(DAYS, st.integers(-3, 40), st.integers(1, 12), st.integers(0, 2**64 - 1))
def test_a_score_expires_where_a_due_day_has_come_since(
    scored: datetime.date, later: int, most: int, number: int
) -> None:
    date = scored + datetime.timedelta(days=later)
    due = any((d + number) % most == 0 for d in range(scored.toordinal() + 1, date.toordinal() + 1))
    [found] = expired(
        np.array([number], np.uint64), pa.array([scored], pa.date32()), date=date, max_age_days=most
    )
    assert found == due


def test_every_query_comes_due_once_in_so_many_nights_and_none_gets_older() -> None:
    most, count = 7, 7_000
    queries = stable_hashes(f"q{number}" for number in range(count))
    scored = np.full(count, FIRST.toordinal())
    times = np.zeros(count, dtype=int)
    for night in range(1, 4 * most + 1):
        date = FIRST + datetime.timedelta(days=night)
        given_at = [datetime.date.fromordinal(int(day)) for day in scored]
        due = expired(queries, pa.array(given_at, pa.date32()), date=date, max_age_days=most)
        assert 0.8 * count / most < due.sum() < 1.2 * count / most
        scored[due] = date.toordinal()
        times += due
        assert (date.toordinal() - scored).max() < most
    assert (times == 4).all()


def test_without_a_limit_scores_never_get_too_old() -> None:
    given_at = pa.array([FIRST], pa.date32())
    date = datetime.date(2126, 3, 1)
    assert not expired(np.zeros(1, np.uint64), given_at, date=date, max_age_days=None).any()
