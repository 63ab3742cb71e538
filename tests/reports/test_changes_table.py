from __future__ import annotations

from typing import Any

from pipeline.reports.changes_table import changes_table
from tests.reports.test_evaluation_table import printed_lines

ONE = {
    "mean": 0.9,
    "min": 0.25,
    "quantiles": {"0.01": 0.3, "0.05": 0.5, "0.25": 0.8, "0.5": 1.0},
    "lowest": [{"query_id": "q[1]", "overlap": 0.25}],
}
NOTHING: dict[str, Any] = {"mean": None, "min": None, "quantiles": {}, "lowest": []}


def statistics(**other: Any) -> dict[str, Any]:
    changes = {"new": 1, "changed": 2, "gone": 12}
    found: dict[str, Any] = {
        "queries": {"before": 20, "after": 9, "common": 8},
        "rows": {"before": 2000, "after": 900, "common": 800},
        "left_out": {"before": 0, "after": 3},
        "changes": {"rows": changes, "lists": changes},
        "scores": {"common": 790, "mean_abs_difference": 0.125, "drift": 0.5},
        "overlap": {"p": 0.9, "1": NOTHING, "10": ONE},
        "movers": [{"query_id": "q[1]", "doc_id": "d\x1b", "previous_rank": 2, "rank": 40}],
        "new_queries": ["n"],
        "gone_queries": ["a", "b"],
    }
    return found | other


def test_changes_are_counted_and_named() -> None:
    columns = {"only_before": ["lang"], "only_after": []}
    printed = printed_lines(changes_table(statistics(), columns))
    assert "queries 20 9 1 2 12" in printed
    assert "rows 2,000 900 1 2 12" in printed
    assert "10 0.900 0.250 0.300 0.500 1.000" in printed
    assert any(line.startswith("q[1] d") and line.endswith("2 40") for line in printed)
    assert "scores of 790 rows in both differ by 0.125 on average, 0.500 standard deviations" in (
        printed
    )
    assert "least alike at 10: q[1] (0.250)" in printed
    assert "new queries: n" in printed
    assert "gone queries: a, b and 10 more" in printed
    assert "columns only before, so that all common rows count as changed: lang" in printed
    assert "left out after: 3 rows without an id, or twice in a list" in printed
    assert not any("\x1b" in line for line in printed)


def test_nothing_in_common_is_shown_as_nothing() -> None:
    scores = {"common": 0, "mean_abs_difference": None, "drift": None}
    given = statistics(movers=[], scores=scores, overlap={"p": 0.9, "10": NOTHING})
    printed = printed_lines(changes_table(given, {"only_before": [], "only_after": []}))
    assert not any("Largest" in line or line.startswith("scores") for line in printed)
