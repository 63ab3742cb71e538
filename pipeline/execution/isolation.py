"""Units that kill their workers: the culprit is found, and everything else is scored.

Such a unit is tried in a process of its own, which may be lost. It may pass there, where something
else killed its workers. If not, its queries are tried in halves, quarters and so on, until those
that kill a process even alone are known; the unit is then scored whole without them, so the scores
of the others are those of a unit in which the culprits could never be scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import pyarrow as pa

from pipeline.errors import RunFailedError
from pipeline.execution.units import rows
from pipeline.plurals import counted

#: A single query must fail this often to be called a culprit: once may be the machine's fault.
_CONFIRMED: Final = 2

#: Seconds that a part of a unit gets at least, where the unit's own limit is no shorter.
_FLOOR_S: Final = 60.0


class IsolatedWorker(Protocol):
    """A process that works on suspect units, replaced whenever it is lost."""

    #: The end of what the last lost process wrote to standard error, or of the model's traceback.
    stderr_tail: str

    def queries(self, number: int) -> int | None:
        """Candidate lists of a unit by its place in ``job.units``; None as below."""

    def attempt(
        self, number: int, *, crashed: Sequence[int], put: bool, limit_s: float
    ) -> pa.Table | None:
        """As :meth:`IsolatedReplica.attempt`; None when the process was lost."""

    def close(self) -> None:
        """End the process."""


def isolate(
    worker: IsolatedWorker,
    number: int,
    *,
    limit_s: float,
    most_culprits: float,
    note: Callable[[rows.Statistics], None],
) -> pa.Table:
    """Finish a unit even if some of its queries kill their worker.

    Args:
        worker: where it is tried.
        number: the unit's place in ``job.units``.
        limit_s: seconds for the whole unit.
        most_culprits: share of its queries; with more, the model is at fault, not the queries.
        note: takes the statistics of attempts that do not become the unit's row.

    Returns:
        The unit's status row.

    Raises:
        RunFailedError: too many culprits, or the unit fails though each of its queries passes.
    """
    tried = worker.attempt(number, crashed=(), put=True, limit_s=limit_s)
    if (done := _survived(worker, tried)) is not None:
        return done
    _note(note, tried)
    count = _queries(worker, number)

    def survives(group: Sequence[int]) -> bool:
        others = sorted(set(range(count)) - set(group))
        share = max(_FLOOR_S, limit_s * len(group) / count)
        for _ in range(_CONFIRMED if len(group) == 1 else 1):
            tried = worker.attempt(number, crashed=others, put=False, limit_s=min(limit_s, share))
            _note(note, tried)
            if _survived(worker, tried) is not None:
                return True
        return False

    culprits = find_culprits(range(count), survives, most=max(1, int(count * most_culprits)))
    if culprits is None:
        raise RunFailedError(
            f"more than {most_culprits:.0%} of a unit's queries ({count}) crash their worker or "
            f"make the model raise, each even alone; the run stops. Last words:\n"
            f"{worker.stderr_tail}"
        )
    tried = worker.attempt(number, crashed=culprits, put=True, limit_s=limit_s)
    done = _survived(worker, tried)
    if done is None:
        _note(note, tried)
        raise RunFailedError(
            f"a unit of {counted(count, 'query')} crashes its worker as a whole, though its "
            "queries pass in parts; lower units.documents (memory), or raise units.time_limit_s (a "
            f"hang?). Last words:\n{worker.stderr_tail}"
        )
    return done


def _queries(worker: IsolatedWorker, number: int) -> int:
    for _ in range(_CONFIRMED):
        count = worker.queries(number)
        if count is not None:
            return count
    raise RunFailedError(
        f"reading a unit's input crashes its worker. Last words:\n{worker.stderr_tail}"
    )


def find_culprits(
    items: Sequence[int], survives: Callable[[Sequence[int]], bool], *, most: int
) -> list[int] | None:
    """Items that do not survive even alone, found by halving groups that do not.

    Args:
        items: all of them; known not to survive together.
        survives: tries a group.
        most: give up past this many.

    Returns:
        The culprits in order, or None when there are more than ``most``.
    """
    culprits: list[int] = []
    middle = len(items) // 2
    pending = [items[middle:], items[:middle]] if middle else [items]
    while pending:
        group = pending.pop()
        if survives(group):
            continue
        if len(group) > 1:
            middle = len(group) // 2
            pending += [group[middle:], group[:middle]]
            continue
        culprits += group
        if len(culprits) > most:
            return None
    return culprits


def _note(note: Callable[[rows.Statistics], None], tried: pa.Table | None) -> None:
    if tried is not None:
        note(rows.statistics(tried))


def _survived(worker: IsolatedWorker, tried: pa.Table | None) -> pa.Table | None:
    """The row; None, with the traceback kept, if the process was lost or the model raised."""
    if tried is None:
        return None
    suspect = rows.suspect_unit(tried)
    if suspect is None:
        return tried
    worker.stderr_tail = suspect.stderr_tail
    return None
