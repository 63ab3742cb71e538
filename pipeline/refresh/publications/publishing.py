"""A run published: the next record created, unless somebody else has created it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications.record import Publication


def publish(
    root: str,
    folder: RunFolder,
    *,
    after: int | None,
    date: date,
    gates: Mapping[str, Mapping[str, Any]] | None = None,
    accepted: Sequence[Mapping[str, Any]] = (),
) -> Publication:
    """Make a run the current one.

    The same run of the same night again is no new publication: the current one is returned.

    Args:
        root: ``output.path``.
        folder: the run, finished, in ``root``.
        after: sequence of the publication that was current when it was decided to publish this
            run; None: there was none.
        date: the night.
        gates: what was measured, see :class:`Publication`.
        accepted: gates that failed and were accepted.

    Raises:
        PublishedMeanwhileError: another publication than ``after`` is current.
        RunFailedError: the run is not finished, or was changed.
        ConfigurationError: ``date`` lies before the current publication's; the run was rolled
            back; or the store has no conditional writes and the run's ``lease.unsafe_store`` does
            not allow that.
        DamagedRunError: the file of a publication is damaged.
    """
    raise NotImplementedError
