"""The forward loop: batches in, readouts out, halving when memory runs out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.engine.packing import gather, packed_batches, padded_batches
from pipeline.engine.statistics import Statistics, Stopwatch
from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.rerankers.base import Reranker
    from pipeline.sequences.arrays import Floats
    from pipeline.sequences.batch import Batch
    from pipeline.sequences.sequences import Sequences

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
    """One loaded model on one device.

    Attributes:
        token_budget: tokens of one forward pass (padded ones, where batches are padded). Shrinks
            when a batch does not fit in memory, unless batches must stay as they are.
        statistics: what was done since the engine was built.
    """

    def __init__(
        self,
        reranker: Reranker,
        *,
        device: torch.device,
        token_budget: int,
        share_prefixes: bool = True,
        deterministic: bool = False,
        float32_twin: Callable[[], Engine] | None = None,
    ) -> None:
        """Take a loaded model.

        Args:
            reranker: its network is on ``device``.
            device: where forward passes run.
            token_budget: tokens of one forward pass to begin with.
            share_prefixes: whether beginnings that sequences share are computed once, where the
                network can.
            deterministic: whether batches stay as they are when one did not fit in memory.
            float32_twin: makes an engine of the same model that computes in float32; called when
                it is first needed, and never again. None where this engine computes in float32.
        """
        self.reranker = reranker
        self.device = device
        self.token_budget = token_budget
        self.share_prefixes = share_prefixes and reranker.packed and reranker.shares_prefixes
        self.deterministic = deterministic
        self.statistics = Statistics()
        self._make_twin = float32_twin
        self._twin: Engine | None = None

    def run(self, lists: CandidateLists, sequences: Sequences) -> tuple[Sequences, Readouts]:
        """Score a unit, through as many rounds as its family asks for.

        Returns:
            The last round's sequences, shared beginnings written out where the network needs that,
            and what the model said about them.
        """
        self.statistics.units += 1
        while True:
            if not self.share_prefixes:
                sequences = sequences.unshared()
            readouts = self.rescore_non_finite(sequences, self._round(sequences))
            following = self.reranker.next_round(lists, sequences, readouts.values)
            if following is None:
                return sequences, readouts
            sequences = following

    def rescore_non_finite(self, sequences: Sequences, readouts: Readouts) -> Readouts:
        """Score what came out as NaN or infinity once more: alone, and in float32.

        Large activations overflow in half precision, and a sequence of a batch must not be lost
        to that. What is not finite in float32 either stays so.
        """
        broken = not_finite(sequences, readouts)
        if not len(broken):
            return readouts
        self.statistics.rescored += len(broken)
        exact = self._in_float32()
        values = readouts.values.copy()
        for sequence in broken.tolist():
            first, last = sequences.readout_offsets[sequence : sequence + 2]
            alone = exact.score_alone(sequences, sequence)
            if alone is not None:
                values[first:last] = alone
        return Readouts(values=values, too_large=readouts.too_large)

    def _in_float32(self) -> Engine:
        """This engine where it computes in float32 already, else its twin."""
        if self._make_twin is None:
            return self
        if self._twin is None:
            self._twin = self._make_twin()
        return self._twin

    def score_alone(self, sequences: Sequences, leaf: int) -> Floats | None:
        """float32 [r, D]: one leaf's readouts from a batch of its own; None where it does not fit.

        Where the network cannot share beginnings, ``sequences`` must be without them.
        """
        import torch

        with torch.inference_mode():
            values = self._forward(gather(sequences, np.array([leaf]), self.device))
            return None if values is None else values.float().cpu().numpy()

    def _round(self, sequences: Sequences) -> Readouts:
        """Score every sequence of one round.

        Results stay on the device until all batches are queued and come back in one copy, so the
        device never waits for the host between batches.
        """
        import torch

        done: list[tuple[npt.NDArray[np.int64], torch.Tensor]] = []
        too_large: list[int] = []
        watch = Stopwatch(self.device)
        with torch.inference_mode(), watch:
            pending = self._batches(sequences)[::-1]
            while pending:
                chosen = pending.pop()
                values = self._forward(gather(sequences, chosen, self.device))
                if values is not None:
                    done.append((chosen, values))
                elif len(chosen) == 1:
                    too_large.append(int(chosen[0]))
                else:
                    half = len(chosen) // 2
                    pending += [chosen[half:], chosen[:half]]
            started = time.perf_counter()
            readouts = _collect(sequences, done, np.array(sorted(too_large), dtype=np.int64))
            self.statistics.collect_s += time.perf_counter() - started
        self.statistics.device_s += watch.seconds
        self.statistics.too_large += len(too_large)
        return readouts

    def _batches(self, sequences: Sequences) -> list[npt.NDArray[np.int64]]:
        if self.reranker.packed:
            return packed_batches(sequences, self.token_budget)
        return padded_batches(sequences.lengths, self.token_budget)

    def _forward(self, batch: Batch) -> torch.Tensor | None:
        """Readouts of a batch, or None when it does not fit in memory."""
        import torch

        try:
            values = self.reranker.forward(batch)
        except torch.OutOfMemoryError:
            self._make_room(batch)
        except RuntimeError as error:
            if _CPU_OUT_OF_MEMORY not in str(error):
                raise
            self._make_room(batch)
        else:
            self.statistics.add(batch, computed=self._computed(batch))
            return values
        # Outside the handler, so that the traceback no longer holds the activations.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _make_room(self, batch: Batch) -> None:
        """Remember that a batch was too large, so that the next units need not learn it again."""
        self.statistics.halved += 1
        if not self.deterministic:
            learned = max(int(batch.lengths.max()), self._computed(batch) // 2)
            self.token_budget = min(self.token_budget, learned)

    def _computed(self, batch: Batch) -> int:
        """Tokens that a forward pass works on, padding among them."""
        if self.reranker.packed:
            return len(batch.token_ids)
        return len(batch.lengths) * int(batch.lengths.max())


def not_finite(sequences: Sequences, readouts: Readouts) -> npt.NDArray[np.int64]:
    """int64: sequences with a NaN or infinite readout; those that did not fit are left out."""
    broken = np.flatnonzero(~np.isfinite(readouts.values).all(axis=1))
    places = np.searchsorted(sequences.readout_offsets, broken, side="right") - 1
    return np.setdiff1d(places, readouts.too_large).astype(np.int64)


def _collect(
    sequences: Sequences,
    done: list[tuple[npt.NDArray[np.int64], torch.Tensor]],
    too_large: npt.NDArray[np.int64],
) -> Readouts:
    """Put readouts back in the order of the sequences, with one copy from the device."""
    import torch

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
