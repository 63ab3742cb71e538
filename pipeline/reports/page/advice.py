"""What to do about a run that did not end well, by the class of what ended it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: States of a run, as a page heads it.
PUBLISHED: Final = "published"
RUNNING: Final = "running"
INTERRUPTED: Final = "interrupted"
FAILED: Final = "failed"

_RESUME: Final = "rerank resume {run}"
_CHECK: Final = "rerank status {run} --check"
_STATUS: Final = "rerank status {run}"
_AGAIN: Final = "rerank run -c JOB.yaml"

#: By class of error: what it means for the run, and the commands that go on.
_BY_KIND: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "QuarantineError": (
        "More candidates could not be scored than the job allows. The reasons and examples are "
        "below. Repair the input, which makes a run of its own; or raise the rate that the message "
        "names above the share that it names, and go on: finished units are kept.",
        (f"{_RESUME} --set quarantine.{{setting}}=RATE", _AGAIN),
    ),
    "InputContractError": (
        "The input breaks its contract at the place that the message names. Repair it and run the "
        "job again: a changed input makes a run of its own, and this one stays as it is.",
        ("rerank inspect INPUT", _AGAIN),
    ),
    "DamagedRunError": (
        "A file of the run is not as it was written. See which ones, put them back from a copy, "
        "or let the job make them anew.",
        (_CHECK, f"{_AGAIN} --repair"),
    ),
    "RunFailedError": (
        "Workers failed, or a unit could not be finished. Finished units are kept: see to what the "
        "message says, and resume.",
        (_RESUME,),
    ),
    "StorageError": (
        "The store or disk went on failing. Finished units are kept: resume once it answers again.",
        (_RESUME,),
    ),
    "AccessDeniedError": (
        "The store refuses these credentials. Renew them, and resume.",
        (_RESUME,),
    ),
    "NotFoundError": ("Something that the run reads is gone. Put it back, and resume.", (_RESUME,)),
    "ModelError": (
        "The checkpoint is not what its model family needs. Put the right one in its place.",
        ("rerank verify MODEL", _RESUME),
    ),
    "ConfigurationError": (
        "A setting is wrong, or does not fit this machine. The message names it; what changes no "
        "score can be set when the run is resumed.",
        (f"{_RESUME} --set KEY=VALUE",),
    ),
    "LimitError": (
        "The run reached a limit of its settings and stopped in order. Finished units are kept: "
        "raise the limit that the message names, and resume.",
        (f"{_RESUME} --set limits.cost=null --set limits.gpu_hours=null",),
    ),
    "FencedError": (
        "Another driver took this run over while this one was silent. It goes on there.",
        (_STATUS,),
    ),
    "TerminatedError": (
        "The driver was asked to stop (SIGTERM), and stopped in order. Finished units are kept.",
        (_RESUME,),
    ),
    "KeyboardInterrupt": ("The run was interrupted. Finished units are kept.", (_RESUME,)),
}
_UNKNOWN: Final[tuple[str, tuple[str, ...]]] = (
    "The run ended in a way that it does not expect. Finished units are kept: resume it. If it "
    "ends so again, that is a defect of the pipeline: keep the folder and report it.",
    (_RESUME, _CHECK),
)
_SILENT: Final[tuple[str, tuple[str, ...]]] = (
    "The last session left no report, so its driver was killed or its machine is gone. Finished "
    "units are kept.",
    (_RESUME, _STATUS),
)
_AT_WORK: Final[tuple[str, tuple[str, ...]]] = ("A driver is at work on this run.", (_STATUS,))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do.

    Attributes:
        says: in a few sentences.
        commands: to be typed, the likeliest first.
    """

    says: str
    commands: tuple[str, ...]


def advice(state: str, error: Mapping[str, Any] | None, folder: str) -> Advice | None:
    """What to do about a run; None where there is nothing to be done.

    Args:
        state: of the run, one of this module's.
        error: what ended its last session: ``kind`` and ``message``; None where none is known.
        folder: of the run.
    """
    if state == PUBLISHED:
        return None
    found = _AT_WORK if state == RUNNING else _SILENT
    if state != RUNNING and error is not None:
        found = _BY_KIND.get(str(error["kind"]), _UNKNOWN)
    says, commands = found
    names = {"run": shlex.quote(folder), "setting": _rate_of(error)}
    return Advice(says=says, commands=tuple(command.format(**names) for command in commands))


def _rate_of(error: Mapping[str, Any] | None) -> str:
    """Which of the two rates of ``quarantine`` a message names."""
    unit = "max_unit_error_rate"
    return unit if error is not None and unit in str(error["message"]) else "max_error_rate"
