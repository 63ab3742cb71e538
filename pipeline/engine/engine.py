"""The forward loop: batches in, readouts out, halving when memory runs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.engine.batching import gather, token_budget_batches

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.rerankers.base import Floats, Reranker, Sequences

#: How an allocation failure of torch's CPU allocator reads; CUDA has a class of its own.
_CPU_OUT_OF_MEMORY = "DefaultCPUAllocator"


@dataclass(frozen=True, kw_only=True)
class Readouts:
    """What the model said about one unit.

    Attributes:
        values: float32 [R, D]; NaN rows for sequences in :attr:`too_large`.
        too_large: int64, sequences that did not fit in memory even alone.
    """

    values: Floats
    too_large: npt.NDArray[np.int64]


class Engine:
    """One loaded model on one device."""

    def __init__(self, reranker: Reranker, *, device: torch.device, token_budget: int) -> None:
        self.reranker = reranker
        self.device = device
        self.token_budget = token_budget

    def run(self, lists: CandidateLists, sequences: Sequences) -> tuple[Sequences, Readouts]:
        """Score a unit, through as many rounds as its family asks for.

        Returns:
            The last round's sequences and what the model said about them.
        """
        while True:
            readouts = self._round(sequences)
            following = self.reranker.next_round(lists, sequences, readouts.values)
            if following is None:
                return sequences, readouts
            sequences = following

    def _round(self, sequences: Sequences) -> Readouts:
        """Score every sequence of one round.

        Results stay on the device until all batches are queued and come back in one copy, so the
        device never waits for the host between batches.
        """
        import torch

        done: list[tuple[npt.NDArray[np.int64], torch.Tensor]] = []
        too_large: list[int] = []
        with torch.inference_mode():
            pending = token_budget_batches(sequences.lengths, self.token_budget)[::-1]
            while pending:
                chosen = pending.pop()
                values = self._forward(sequences, chosen)
                if values is not None:
                    done.append((chosen, values))
                elif len(chosen) == 1:
                    too_large.append(int(chosen[0]))
                else:
                    half = len(chosen) // 2
                    pending += [chosen[half:], chosen[:half]]
            return _collect(sequences, done, np.array(sorted(too_large), dtype=np.int64))

    def _forward(self, sequences: Sequences, chosen: npt.NDArray[np.int64]) -> torch.Tensor | None:
        """Readouts of some sequences, or None when they do not fit in memory together."""
        import torch

        try:
            return self.reranker.forward(gather(sequences, chosen, self.device))
        except torch.OutOfMemoryError:
            pass
        except RuntimeError as error:
            if _CPU_OUT_OF_MEMORY not in str(error):
                raise
        # Outside the handler, so that the traceback no longer holds the activations.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def _collect(
    sequences: Sequences,
    done: list[tuple[npt.NDArray[np.int64], torch.Tensor]],
    too_large: npt.NDArray[np.int64],
) -> Readouts:
    """Put readouts back in the order of the sequences, with one copy from the device."""
    import torch

    from pipeline.rerankers.support.tokens import ragged_range

    total = int(sequences.readout_offsets[-1])
    if not done:
        return Readouts(values=np.full((total, 1), np.nan, np.float32), too_large=too_large)
    rows = torch.cat([values for _, values in done]).float().cpu().numpy()
    chosen = np.concatenate([positions for positions, _ in done])
    places = ragged_range(
        sequences.readout_offsets[chosen], np.diff(sequences.readout_offsets)[chosen]
    )
    values = np.full((total, rows.shape[1]), np.nan, dtype=np.float32)
    values[places] = rows
    return Readouts(values=values, too_large=too_large)
