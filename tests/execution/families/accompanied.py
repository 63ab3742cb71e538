"""A family that crashes on marked queries, the first time only once it has company."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from pydantic import Field

from pipeline.config import Settings
from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.batch import Batch

if TYPE_CHECKING:
    import torch

_PATIENCE_S = 60.0


class AccompaniedSettings(Settings):
    """Settings of the family."""

    runs: Path = Field(description="The output folder; marks are looked for in the run below.")
    deaths: Path = Field(description="A file for a line of marks at every crash.")


class Accompanied(Lexical):
    """A query with the word ``abortincompany`` aborts once two units are being scored."""

    Settings = AccompaniedSettings

    def forward(self, batch: Batch) -> torch.Tensor:
        if crc32(b"abortincompany") >> 1 in batch.token_ids:
            self._abort()
        return super().forward(batch)

    def _abort(self) -> None:
        assert isinstance(self.settings, AccompaniedSettings)
        until, marks = time.monotonic() + _PATIENCE_S, []
        while len(marks) < 2 and time.monotonic() < until:
            marks = sorted(p.name for p in self.settings.runs.glob("*/attempts/*.score-*.json"))
            time.sleep(0.01)
        with self.settings.deaths.open("a") as file:
            file.write(" ".join(marks) + "\n")
        os.abort()
