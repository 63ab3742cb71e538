"""What smoke training showed, as a terminal table and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from pipeline.ranking.comparison import Comparison
from pipeline.ranking.evaluation import Evaluation
from pipeline.reports.evaluation_table import comparison_table


def student_table(comparison: Comparison, teacher: Evaluation, notes: str) -> Group:
    """Before and after by measure, with the teacher's own order of the same lists below.

    Args:
        comparison: the untrained student and the trained one.
        teacher: the teacher.
        notes: what was trained and ranked.
    """
    own = ", ".join(f"{name} {value:.4f}" for name, value in teacher.means.items())
    table = comparison_table(comparison, headings=("before", "after"))
    return Group(table, Text(f"the teacher's own order: {own}\n{notes}"))


def student_json(comparison: Comparison, teacher: Evaluation) -> dict[str, Any]:
    """By measure: before, after, teacher, wins, ties, losses and both p."""
    return {
        row.measure: {
            "before": row.baseline,
            "after": row.other,
            "teacher": teacher.means[row.measure],
            "wins": row.wins,
            "ties": row.ties,
            "losses": row.losses,
            "p_t_test": row.p_t_test,
            "p_randomization": row.p_randomization,
        }
        for row in comparison.measures
    }
