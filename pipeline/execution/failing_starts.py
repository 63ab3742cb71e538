"""Replicas that die while they load the model, one after the other: the run gives up.

Ray starts an actor that was killed again for ever, which replicas on nodes that are preempted need.
One that is killed for the memory that its model takes comes to the same end each time, on machines
that are paid for, and nothing else would stop the run.
"""

from __future__ import annotations

from typing import Final

from pipeline.errors import RunFailedError
from pipeline.execution.live.replicas import Replicas
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.termination import Termination

#: Deaths in a row for each replica that there is to be: a node that is lost takes all of its own.
MOST: Final = 4


class FailingStarts:
    """Looks at replicas, and ends a run of which none comes so far that it could score.

    Args:
        replicas: of the session.
        termination: likewise.
    """

    def __init__(self, replicas: Replicas, termination: Termination) -> None:
        self._replicas = replicas
        self._termination = termination

    def watch(self, snapshot: Snapshot) -> None:
        """An observer of the monitor."""
        died = self._replicas.died_loading
        if died <= MOST * max(1, self._replicas.wanted) or self._termination.requested:
            return
        self._termination.request(
            RunFailedError(
                f"{died} replicas died one after the other while they loaded the model, and none "
                "has loaded it. The system kills processes for memory without a word of theirs: "
                "see `dmesg` or the events of the node, lower replicas.max so that fewer share a "
                "machine, or take one with more memory; `rerank plan` says what a replica takes. "
                "Committed units are kept: run the same command again to resume"
            ),
            now=True,
        )
