"""How good probabilities of relevance are, as a terminal table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plurals import counted
from pipeline.ranking.calibration import Calibration


def calibration_table(
    calibration: Calibration, measured: Mapping[str, Mapping[str, float]], *, queries: int
) -> Group:
    """One row per kind of probability; below, what was fitted.

    Args:
        calibration: the fit.
        measured: log loss, Brier score and expected calibration error by kind.
        queries: that were measured on, none of which was fitted to.
    """
    table = Table(
        title=f"Probabilities of relevance, {counted(queries, 'judged query')} not fitted to",
        title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("probability", no_wrap=True)
    for heading in ("log loss", "Brier", "ECE"):
        table.add_column(heading, justify="right")
    for name, values in measured.items():
        table.add_row(name, *(f"{values[key]:.4f}" for key in ("log_loss", "brier", "ece")))
    fitted = (
        f"{calibration.method} fitted to {counted(calibration.pairs, 'judged pair')}, "
        f"{calibration.positives:,} of them relevant (grade {calibration.relevant} or more); the "
        "less, the better"
    )
    return Group(table, Text(fitted))
