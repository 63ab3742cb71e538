from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bench.kernels import OTHERS, Span, device_time, rows, rows_of_spans


def span(start: float, stop: float, name: str = "gemm") -> Span:
    return Span(name=name, start_s=start, stop_s=stop)


def test_time_between_kernels_is_idle_once_however_they_overlap() -> None:
    # Two streams: the second kernel lies within the first, the third begins before its end.
    found = device_time([span(5, 6), span(1, 3), span(1.5, 2), span(2.5, 4)])
    assert (found.window_s, found.busy_s, found.idle_s) == (5, 4, 1)
    assert (found.gaps, found.longest_gap_s) == (1, 1)


def test_kernels_that_are_queued_leave_no_gaps_though_they_never_touch() -> None:
    found = device_time([span(n * 1e-3, n * 1e-3 + 0.995e-3) for n in range(100)])
    assert found.gaps == 0
    assert found.idle_s == pytest.approx(99 * 5e-6)


def test_nothing_ran() -> None:
    assert device_time([]).window_s == 0
    assert rows_of_spans([]) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 10)).map(lambda at: span(at[0], at[0] + at[1])),
        min_size=1,
    )
)
def test_busy_and_idle_make_the_window(spans: list[Span]) -> None:
    found = device_time(spans)
    longest = max(one.stop_s - one.start_s for one in spans)
    assert found.busy_s + found.idle_s == pytest.approx(found.window_s)
    assert found.window_s >= found.busy_s >= longest - 1e-9
    assert found.busy_s <= sum(one.stop_s - one.start_s for one in spans) + 1e-9


def test_launches_of_a_kernel_are_one_row_and_the_costliest_comes_first() -> None:
    table = rows_of_spans([span(0, 1, "gelu"), span(1, 3, "gemm"), span(3, 4, "gelu")])
    assert [(row.name, row.seconds, row.share, row.count) for row in table] == [
        ("gelu", 2, 0.5, 2),
        ("gemm", 2, 0.5, 1),
    ]


def test_what_the_table_does_not_name_is_its_last_row() -> None:
    table = rows([(f"kernel{n:02}", float(n), n) for n in range(1, 31)])
    assert [row.name for row in table[:2]] == ["kernel30", "kernel29"]
    assert len(table) == 21
    assert (table[-1].name, table[-1].seconds, table[-1].count) == (OTHERS, 55, 55)
    assert sum(row.share for row in table) == pytest.approx(1)
