"""What replicas note reaches the report, and is never added up."""

from __future__ import annotations

from pipeline.execution.units import rows
from pipeline.execution.units.replica_notes import ReplicaNotes

READY = 1_700_000_000.5


def noted(budget: int, *, load_s: float, compilations: int, kernel: str) -> rows.Statistics:
    replica = {
        rows.READY: READY,
        rows.LOAD_S: load_s,
        rows.TOKEN_BUDGET: budget,
        rows.COMPILATIONS: compilations,
    }
    return {
        rows.REPLICA: replica,
        rows.KERNELS: {kernel: 1},
        rows.REFUSALS: {} if compilations == 5 else {"flash-4 for heads of 128: RuntimeError": 1},
        rows.ENGINE: {"tokens": 7.0},
    }


def test_the_report_says_what_each_unit_was_scored_with() -> None:
    notes = ReplicaNotes()
    units = [
        noted(16_384, load_s=2.0, compilations=5, kernel="flash-4: 128 wide"),
        noted(16_384, load_s=2.0, compilations=6, kernel="flash-4: 128 wide"),
        noted(131_072, load_s=3.5, compilations=4, kernel="flash-2: 128 wide"),
    ]
    for stats in units:
        assert notes.take(stats) == READY
        assert stats == {rows.ENGINE: {"tokens": 7.0}}
    assert notes.report() == {
        "load_s": 3.5,
        "compilations": 6,
        "units_by_token_budget": {"16384": 2, "131072": 1},
        "units_by_attention": {"flash-2: 128 wide": 1, "flash-4: 128 wide": 2},
        "units_by_refusal": {"flash-4 for heads of 128: RuntimeError": 2},
    }


def test_a_unit_that_no_replica_scored_changes_nothing() -> None:
    notes = ReplicaNotes()
    assert notes.take({rows.ENGINE: {"tokens": 1.0}}) is None
    assert notes.report()["units_by_token_budget"] == {}
