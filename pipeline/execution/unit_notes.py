"""What workers noted about units, for the report: where the time went, lengths, what was cut."""

from __future__ import annotations

from typing import Any

from pipeline.execution.units import rows
from pipeline.execution.units.stages import READ, WRITE
from pipeline.execution.units.unit_tasks import COMMIT, ENCODE, SCORE
from pipeline.sequences.lengths import LengthHistogram


def report_of(totals: rows.Statistics) -> dict[str, Any]:
    """For ``report.json``, of the sums over a session's units.

    Returns:
        ``stage_seconds``: seconds by what a unit was at, added up over units, which are worked on
        side by side: read, encode, wait_for_replica, score, wait_for_writer, rank, write. Scoring
        holds the wait for other units in the same replica. ``lengths``: sequences that the model
        read, see :class:`~pipeline.sequences.lengths.LengthHistogram`. ``truncation``: documents
        of which the family says whether it cut them, and those that it cut; None where it says
        nothing.
    """
    seconds, parts = totals.get(rows.SECONDS, {}), totals.get(rows.PARTS, {})
    waited = totals.get(rows.WAITED, {})
    read_s, write_s = parts.get(READ, 0.0), parts.get(WRITE, 0.0)
    stages = {
        "read": read_s,
        "encode": seconds.get(ENCODE, 0.0) - read_s,
        "wait_for_replica": waited.get(SCORE, 0.0),
        "score": seconds.get(SCORE, 0.0),
        "wait_for_writer": waited.get(COMMIT, 0.0),
        "rank": seconds.get(COMMIT, 0.0) - write_s,
        "write": write_s,
    }
    cut = totals.get(rows.TRUNCATION)
    lengths = LengthHistogram.from_dict(totals.get(rows.LENGTHS, {}))
    return {
        # Units that were isolated have parts, and no stages that these are of.
        "stage_seconds": {name: round(max(0.0, s), 3) for name, s in stages.items()},
        "lengths": lengths.as_dict(),
        "truncation": None if cut is None else {name: int(n) for name, n in cut.items()},
    }
