"""A reranker whose forward pass costs a fixed time per token, asleep: load without a CPU.

``model.family: benchmarks.fixed_cost``. The time stands in a file, so that the pace of a run can
change without it becoming another run. The score is a digest of the tokens: every candidate has its
own, and no order is a matter of luck.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from pydantic import Field

from pipeline.config import Settings
from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists


class FixedCostSettings(Settings):
    """Settings of the family."""

    pace: Path = Field(description="A file with the seconds to sleep per token.")
    log: Path | None = Field(None, description="A file for the time of every forward pass.")


class FixedCost(Lexical):
    """Sleeps, then scores."""

    Settings = FixedCostSettings

    def forward(self, batch: Batch) -> Floats:
        """float32 [b, 1]: a digest of each sequence, in [0, 1)."""
        assert isinstance(self.settings, FixedCostSettings)
        began = time.time()
        time.sleep(float(self.settings.pace.read_text()) * len(batch.token_ids))
        if self.settings.log is not None:
            with self.settings.log.open("a") as log:  # one short write: lines stay whole
                log.write(f"{os.getpid()} {began} {time.time()}\n")
        edges = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
        digests = [crc32(batch.token_ids[a:b].tobytes()) / 2**32 for a, b in edges]
        return np.array(digests, dtype=np.float32)[:, None]

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The digest itself."""
        return np.ascontiguousarray(readouts[:, 0])
