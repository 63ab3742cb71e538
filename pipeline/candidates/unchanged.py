"""Reading an input none of whose files is written to meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pipeline.candidates.inputs import Input
from pipeline.errors import InputContractError
from pipeline.storage.store import FileIdentity, identify

T = TypeVar("T")

#: How often a unit is read whose files are touched meanwhile, their content staying.
_READS: Final = 3


@dataclass(frozen=True, kw_only=True)
class _WatchedInput(Input):
    """An input that notes what its files are when they are first opened."""

    opened: dict[str, FileIdentity] = field(default_factory=dict)

    def _opening(self, identity: FileIdentity) -> None:
        if identity.path not in self.opened:
            self.opened[identity.path] = identify(identity.path)

    def touched(self) -> list[str]:
        """Files that are not what they were; such a file may have been two things meanwhile."""
        return [path for path, before in self.opened.items() if identify(path) != before]


def read_unchanged(source: Input, read: Callable[[Input], T]) -> T:
    """What ``read`` makes of an input, none of whose files was written to meanwhile.

    A file is compared with the plan when it is opened. What is written into it after that shows in
    the times and the inode that it has at the end; where those are others, all is read again, which
    compares it again.

    Raises:
        InputContractError: a file is not the one that was planned, or is written to all the time.
    """
    for _ in range(_READS):
        watched = _WatchedInput(files=source.files, max_expansion=source.max_expansion)
        try:
            result = read(watched)
        except InputContractError:
            # A mixture may break any rule; what is right to say shows when it is read again.
            if not (touched := watched.touched()):
                raise
            continue
        if not (touched := watched.touched()):
            return result
    raise InputContractError(
        f"{touched[0]}: was written to each of the {_READS} times that it was read, so what was "
        "read may be a mixture; wait until nobody writes to it, and run again: it resumes"
    )
