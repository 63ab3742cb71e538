"""Detects units that kill their workers, by a small file for every attempt.

A worker creates ``attempts/<unit>.<stage>-<n>.json`` before it begins a stage of a unit and deletes
it afterwards. One that is left means that its worker died. The graph does not begin a unit with
three of them again, because its workers would keep dying; the unit is set aside for
:mod:`pipeline.execution.isolation`. The files show what is in progress at any moment.

A worker that dies leaves the marks of all units that it was working on. So that none is blamed for
another, one that is marked is tried only alone, see :mod:`pipeline.execution.units.admission`.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.errors import DamagedRunError
from pipeline.execution.runs import records
from pipeline.storage.files import FILE, Entry
from pipeline.storage.store import create_if_absent, delete, join, list_entries

FOLDER: Final = "attempts"

#: Workers that a unit may kill in one stage before it is set aside.
MOST: Final = 3

_NAME: Final = re.compile(r"([0-9a-f]+)\.([a-z]+)-([1-9]\d?)\.json")

_TAIL_LINES, _TAIL_BYTES = 12, 32_768

#: How the interpreter begins to print why it ends, and what it prints last and nobody needs.
_END: Final = ("Fatal Python error", "Timeout (")
_NOISE: Final = "Extension modules:"


class MarkedUnitError(Exception):
    """A unit that may have killed a worker; it must not be tried beside others."""


class WorkersKilledError(Exception):
    """A unit that killed :data:`MOST` workers; the message is what the last one printed."""


@dataclass(frozen=True, kw_only=True)
class Marker:
    """One worker at one stage of one unit.

    Attributes:
        unit: the unit's name.
        stage: encode, score or commit.
        number: 1 for the first worker.
    """

    unit: str
    stage: str
    number: int

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.unit}.{self.stage}-{self.number}.json"

    @classmethod
    def from_name(cls, name: str) -> Marker | None:
        """The inverse of :attr:`name`; None for any other name."""
        match = _NAME.fullmatch(name)
        return match and cls(unit=match[1], stage=match[2], number=int(match[3]))


@contextlib.contextmanager
def attempt(folder: str, unit: str, stage: str, *, alone: bool = True) -> Iterator[None]:
    """Mark the body as a worker's attempt at a stage of a unit.

    Args:
        folder: the run's.
        unit: the unit's name.
        stage: encode, score or commit.
        alone: whether this process works on nothing else.

    Raises:
        WorkersKilledError: earlier attempts ended with their workers.
        MarkedUnitError: not alone, and an earlier attempt ended with its worker. Nothing is marked.
    """
    path = _mark(folder, unit, stage, alone=alone)
    try:
        yield
    finally:
        delete(path)


def at_work(
    folder: str, *, entries: Callable[[str], Sequence[Entry]] = list_entries
) -> list[Marker]:
    """Attempts that have not ended, those of dead workers included; other files are ignored.

    Args:
        folder: the run's.
        entries: lists a folder.
    """
    names = [entry.name for entry in entries(join(folder, FOLDER)) if entry.kind == FILE]
    return [marker for name in names if (marker := Marker.from_name(name)) is not None]


def forget(folder: str) -> None:
    """Remove the marks of workers that died, once their units are finished."""
    for marker in at_work(folder):
        delete(join(folder, FOLDER, marker.name))


def stderr_tail(path: str, host: str) -> str:
    """The last lines that a dead worker wrote to its standard error.

    Args:
        path: the file that it wrote to; empty where that was none.
        host: the machine that the file is on.
    """
    if not path:
        return ""
    if host != socket.gethostname():
        return f"(see {path} on {host})"
    if not Path(path).is_file():
        return ""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(_relevant(lines))


def in_a_line(tail: str) -> str:
    """What of a worker's last lines says most: why its interpreter ended, else the last of them."""
    lines = tail.rstrip().splitlines() or [""]
    return next((line for line in reversed(lines) if line.startswith(_END)), lines[-1].strip())


def _relevant(lines: Sequence[str]) -> list[str]:
    """The last lines; where a long traceback is between, also those at which the end began."""
    said = [line for line in lines if line.strip() and not line.startswith(_NOISE)]
    ends = [place for place, line in enumerate(said) if line.startswith(_END)]
    if not ends or ends[-1] >= len(said) - _TAIL_LINES:
        return said[-_TAIL_LINES:]
    first = said[max(0, ends[-1] - 2) : ends[-1] + 1]
    return [*first, "...", *said[len(first) + 1 - _TAIL_LINES :]]


def stderr_path() -> str:
    """The file that this process writes its standard error to; empty where it is none."""
    try:
        path = Path("/proc/self/fd/2").readlink()
    except OSError:
        return ""
    return str(path) if path.is_file() else ""


def _mark(folder: str, unit: str, stage: str, *, alone: bool) -> str:
    """Create the next marker, where not alone only the first; returns its path."""
    about: dict[str, Any] = {
        "run_id": folder.rpartition("/")[2],
        "unit": unit,
        "stage": stage,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "stderr": stderr_path(),
        "token": uuid.uuid4().hex,  # no two attempts write the same bytes
    }
    for number in range(1, MOST + 1):
        name = Marker(unit=unit, stage=stage, number=number).name
        path = join(folder, FOLDER, name)
        if create_if_absent(path, records.to_bytes(records.Mark, about | {"number": number})):
            return path
        if not alone:
            raise MarkedUnitError(unit)
    raise WorkersKilledError(_stderr_of_last(path))


def _stderr_of_last(path: str) -> str:
    """What the worker that left a mark wrote to its standard error."""
    try:
        last = records.read(path, records.Mark)
    except DamagedRunError as error:
        return f"({error})"
    return "" if last is None else stderr_tail(last["stderr"], last["host"])
