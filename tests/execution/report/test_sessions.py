from __future__ import annotations

from pipeline.execution.report import sessions
from pipeline.sequences.lengths import LengthHistogram


def report(**more: object) -> dict[str, object]:
    return {
        "state": "published", "epoch": 1, "started": 1.0, "ended": 2.0, "seconds": 1.0,
        "documents_per_s": 5.0, "units_done_now": 1, "stage_seconds": {"read": 1.0, "score": 2.0},
        "lengths": LengthHistogram.of([3, 30]).as_dict(),
        "truncation": {"documents": 2, "truncated": 1},
    } | more  # fmt: skip


def test_a_resumed_run_is_the_sum_of_its_sessions() -> None:
    first = report(state="RunFailedError", spent={"gpu_hours": 1.0, "cost": [2.0, 4.0]})
    second = report(sessions=sessions.earlier(first), truncation=None)
    spent = {"gpu_hours": 1.5, "cost": [3.0, 6.0], "currency": "EUR"}
    third = report(sessions=sessions.earlier(second), spent=spent)
    assert [one["state"] for one in third["sessions"]] == ["RunFailedError", "published"]
    assert sessions.stage_seconds(third) == {"read": 3.0, "score": 6.0}
    assert sessions.lengths(third).as_dict() == LengthHistogram.of([3, 30] * 3).as_dict()
    assert sessions.truncation(third) == {"documents": 4, "truncated": 2}
    assert sessions.spent(third) == spent


def test_nothing_is_known_of_a_run_without_sessions() -> None:
    assert sessions.earlier({}) == []
    assert sessions.truncation({}) is None
    assert sessions.spent({}) == {"gpu_hours": None, "cost": None, "currency": None}
    assert sessions.lengths({}).sequences == 0


def test_a_run_that_is_resumed_without_end_keeps_the_last_fifty_sessions() -> None:
    last = report(epoch=0)
    for epoch in range(1, 60):
        last = report(epoch=epoch, sessions=sessions.earlier(last))
    assert [one["epoch"] for one in last["sessions"]] == list(range(9, 59))
    assert "sessions" not in last["sessions"][0]
