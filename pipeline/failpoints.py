"""Named steps at which a test crashes, pauses or fails the process; nothing without the variable.

``RERANK_FAILPOINTS="unit.written:2=crash,manifest.written:1=pause"`` kills the process with
SIGKILL when it reaches ``unit.written`` for the second time, and stops it (SIGSTOP) when it first
reaches ``manifest.written``; ``raise`` raises an exception. Hits are counted per process.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

VARIABLE: Final = "RERANK_FAILPOINTS"

#: Every step that has a name, in the order in which a run takes them.
NAMES: Final = (
    "lease.taken",
    "plan.written",
    "run.written",
    "unit.begun",
    "unit.encoded",
    "unit.scored",
    "quarantine.written",
    "unit.ready",
    "part.written",
    "format.written",
    "unit.written",
    "units.verified",
    "manifest.written",
    "lease.fenced",
    "pointer.moved",
    "success.written",
    "report.written",
    "lease.released",
)

#: Steps of making a staged copy, which only some inputs need, in their order.
OF_STAGING: Final = (
    "staging.planned",
    "staging.part_ready",
    "staging.part_written",
    "staging.part_recorded",
    "staging.finished",
)

#: Steps of making a reuse table, which only a refresh does, in their order.
OF_REUSE: Final = (
    "reuse.part_ready",
    "reuse.part_written",
    "reuse.part_recorded",
    "reuse.finished",
)

#: Steps of making a run the current one, in their order.
OF_PUBLICATION: Final = (
    "publication.claimed",
    "publication.created",
)

#: Steps of retention, in their order; all but the last are taken for each thing that goes.
OF_RETENTION: Final = (
    "retention.marked",
    "retention.pointer_removed",
    "retention.run_hidden",
    "retention.run_removed",
)

#: Steps of a night, each after what it is named for, in their order.
OF_NIGHT: Final = (
    "night.matched",
    "night.ran",
    "night.compared",
    "night.published",
    "night.fed",
    "night.retired",
)

#: Steps of bringing one target to a publication, in their order.
OF_FEEDING: Final = (
    "feed.recorded",
    "feed.begun",
    "feed.part_put",
    "feed.part_recorded",
    "feed.switched",
    "feed.cleaned",
)

_hits: Counter[str] = Counter()


class FailpointError(Exception):
    """Raised by a failpoint that was told to."""


def reached(name: str) -> None:
    """Say that the process has come to the step ``name``, one of those above."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    _hits[name] += 1
    for rule in wanted.split(","):
        place, _, action = rule.partition("=")
        step, _, hit = place.partition(":")
        if (step, int(hit)) == (name, _hits[name]):
            _act(name, action)


def _act(name: str, action: str) -> None:
    if action == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "pause":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "raise":
        raise FailpointError(name)
    else:
        raise ValueError(f"{VARIABLE}: unknown action {action!r}; use crash, pause or raise")
