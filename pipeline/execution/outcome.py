"""What a command that fills a folder did, whether that folder is a run or a training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run or a distillation did.

    Attributes:
        folder: path of the run or of the set.
        manifest: content of its ``manifest.json``.
        units_run: units that this session scored, or mined.
        seconds: that this session took for them, in a distillation with the start of Ray; 0 when
            there was nothing to do.
        already_finished: the folder was published before.
        repaired: it was, and this session made files of it anew.
    """

    folder: str
    manifest: dict[str, Any]
    units_run: int
    seconds: float
    already_finished: bool
    repaired: bool = False

    @property
    def reused(self) -> int:
        """Documents of the run whose score was taken from an earlier run."""
        return int(self.manifest.get("reused") or 0)
