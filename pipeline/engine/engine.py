"""The forward loop: batches in, readouts out, halving when memory runs out.

A unit goes through it in three steps: its batches are made, its forward passes are queued on the
device, and what comes back is put in order. Only the second needs the device for itself, so a
replica that works on two units makes one ready and queues it while the device computes the other,
and the device never waits for the host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pipeline.engine.batches import BatchesDone
from pipeline.engine.device import computing
from pipeline.engine.packing import gather, packed_batches, padded_batches
from pipeline.engine.rounds import (
    LaunchedRound,
    PreparedRound,
    Readouts,
    in_order,
    not_finite,
    to_host,
)
from pipeline.engine.statistics import Statistics, Stopwatch
from pipeline.networks.refusals import out_of_memory
from pipeline.rerankers.base import Reranker

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.engine.agreement import AgreementCheck
    from pipeline.sequences.arrays import Floats
    from pipeline.sequences.batch import Batch
    from pipeline.sequences.sequences import Sequences

#: Tokens of a round that are sent to the device before its turn comes: 70 MB there. The others
#: follow while the device is busy with these.
_AHEAD: Final = 2**22


@dataclass(frozen=True, kw_only=True)
class ScoredUnit:
    """What an engine made of one unit.

    Attributes:
        sequences: the last round's, shared beginnings written out where the network needs that.
        readouts: what the model said about them.
        statistics: of this unit alone.
    """

    sequences: Sequences
    readouts: Readouts
    statistics: Statistics


class Engine:
    """One loaded model on one device; several threads may score units with it.

    Attributes:
        token_budget: tokens of one forward pass (padded ones, where batches are padded). Shrinks
            when a batch does not fit in memory, unless batches must stay as they are.
        statistics: what was done since the engine was built.
        agreement: for whoever runs a quantised engine to call on what was scored; else None.
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
        agreement: AgreementCheck | None = None,
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
            agreement: compares what a quantised engine scores first; None for others.
        """
        self.reranker = reranker
        self.device = device
        self.token_budget = token_budget
        self.share_prefixes = share_prefixes and reranker.packed and reranker.shares_prefixes
        self.deterministic = deterministic
        self.statistics = Statistics()
        self.agreement = agreement
        self._make_twin = float32_twin
        self._twin: Engine | None = None
        self._on_device = threading.Lock()  # held by who calls the network
        self._counting = threading.Lock()

    def run(self, lists: CandidateLists, sequences: Sequences) -> tuple[Sequences, Readouts]:
        """Score a unit; :meth:`score` without its statistics."""
        done = self.score(sequences, lambda: lists)
        return done.sequences, done.readouts

    @property
    def several_rounds(self) -> bool:
        """Whether the family may ask for a further round once it has seen the readouts of one."""
        return type(self.reranker).next_round is not Reranker.next_round

    def score(
        self,
        sequences: Sequences,
        lists: Callable[[], CandidateLists],
        *,
        batches: BatchesDone | None = None,
    ) -> ScoredUnit:
        """Score a unit, through as many rounds as its family asks for.

        Args:
            sequences: the first round's.
            lists: gives what was encoded; called only for families of several rounds.
            batches: told of each batch, for whoever watches the unit.
        """
        counted = Statistics(units=1)
        while True:
            if not self.share_prefixes:
                sequences = sequences.unshared()
            launched = self.launch(self.prepare(sequences, counted), counted, batches)
            readouts = self.collect(launched, counted)
            readouts = self.rescore_non_finite(sequences, readouts, counted)
            following = None
            if self.several_rounds:
                following = self.reranker.next_round(lists(), sequences, readouts.values)
            if following is None:
                break
            sequences = following
        with self._counting:
            self.statistics.add_all(counted)
        return ScoredUnit(sequences=sequences, readouts=readouts, statistics=counted)

    def prepare(self, sequences: Sequences, counted: Statistics) -> PreparedRound:
        """Cut a round into batches and send the first ones to the device, without calling it."""
        began = time.perf_counter()
        budget = self.token_budget
        pending: list[tuple[npt.NDArray[np.int64], Batch | None]] = []
        left = _AHEAD
        for leaves in self._batches(sequences, budget):
            batch = gather(sequences, leaves, self.device) if left > 0 else None
            if batch is not None:
                left = left - len(batch.token_ids) if self._send(batch) else 0
            pending.append((leaves, batch))
        counted.prepare_s += time.perf_counter() - began
        return PreparedRound(sequences=sequences, token_budget=budget, pending=pending[::-1])

    def launch(
        self, prepared: PreparedRound, counted: Statistics, batches: BatchesDone | None = None
    ) -> LaunchedRound:
        """Queue a round's forward passes and the one copy of what they give, in one turn.

        Waits for the turn, and not for the device: another round is queued behind this one before
        this one has ended.
        """
        with computing(self.device), self._on_device:
            began = time.perf_counter()
            if self.token_budget < prepared.token_budget:  # another unit has learned meanwhile
                prepared = self.prepare(prepared.sequences, Statistics())
            with Stopwatch(self.device) as watch:
                done, too_large = self._forward_all(prepared, counted, batches)
                rows = to_host([values for _, values in done]) if done else None
            counted.launch_s += time.perf_counter() - began
        counted.too_large += len(too_large)
        return LaunchedRound(
            sequences=prepared.sequences,
            leaves=np.concatenate([leaves for leaves, _ in done] or [np.zeros(0, dtype=np.int64)]),
            rows=rows,
            too_large=np.array(sorted(too_large), dtype=np.int64),
            watch=watch,
        )

    def collect(self, launched: LaunchedRound, counted: Statistics) -> Readouts:
        """Wait for a round and put its readouts back in the order of the sequences."""
        began = time.perf_counter()
        counted.device_s += launched.watch.wait()
        readouts = in_order(launched)
        counted.collect_s += time.perf_counter() - began
        return readouts

    def rescore_non_finite(
        self, sequences: Sequences, readouts: Readouts, counted: Statistics
    ) -> Readouts:
        """Score what came out as NaN or infinity once more: alone, and in float32.

        Large activations overflow in half precision, and a sequence of a batch must not be lost
        to that. What is not finite in float32 either stays so. Where the network cannot share
        beginnings, ``sequences`` must be without them.
        """
        broken = not_finite(sequences, readouts)
        if not len(broken):
            return readouts
        counted.rescored += len(broken)
        values = readouts.values.copy()
        for sequence in broken.tolist():
            first, last = sequences.readout_offsets[sequence : sequence + 2]
            alone = self._score_alone(sequences, sequence, counted)
            if alone is not None:
                values[first:last] = alone
        return Readouts(values=values, too_large=readouts.too_large)

    def _score_alone(self, sequences: Sequences, leaf: int, counted: Statistics) -> Floats | None:
        """float32 [r, D]: one leaf's readouts in float32; None where it does not fit."""
        batch = gather(sequences, np.array([leaf]), self.device)
        with computing(self.device), self._on_device:
            exact = self._in_float32()
            with Stopwatch(self.device) as watch:
                values = exact._forward(batch, counted)
                rows = None if values is None else to_host([values])
        counted.device_s += watch.wait()
        return None if rows is None else np.asarray(rows)

    def _in_float32(self) -> Engine:
        """This engine where it computes in float32 already, else its twin."""
        if self._make_twin is None:
            return self
        if self._twin is None:
            self._twin = self._make_twin()
        return self._twin

    def _forward_all(
        self, prepared: PreparedRound, counted: Statistics, batches: BatchesDone | None
    ) -> tuple[list[tuple[npt.NDArray[np.int64], torch.Tensor | Floats]], list[int]]:
        """Leaves and readouts of each batch, on the device, and the leaves that do not fit."""
        done: list[tuple[npt.NDArray[np.int64], torch.Tensor | Floats]] = []
        too_large: list[int] = []
        pending = prepared.pending
        while pending:
            leaves, batch = pending.pop()
            if batch is None:
                batch = gather(prepared.sequences, leaves, self.device)
            with Stopwatch(self.device) as watch:
                values = self._forward(batch, counted)
            if values is not None:
                done.append((leaves, values))
                if batches is not None:
                    batches.add(watch, sequences=len(leaves), tokens=len(batch.token_ids))
            elif len(leaves) == 1:
                too_large.append(int(leaves[0]))
            else:
                half = len(leaves) // 2
                pending += [(leaves[half:], None), (leaves[:half], None)]
        return done, too_large

    def _batches(self, sequences: Sequences, budget: int) -> list[npt.NDArray[np.int64]]:
        if self.reranker.packed:
            return packed_batches(sequences, budget)
        return padded_batches(sequences.lengths, budget)

    def _send(self, batch: Batch) -> bool:
        """Whether the batch is on its way to the device, where the network takes it as it is.

        While another unit fills the memory there may be none left even for this. It is then sent in
        its turn, and halved where it does not fit.
        """
        try:
            if self.reranker.packed:
                batch.send()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            return False
        return True

    def _forward(self, batch: Batch, counted: Statistics) -> torch.Tensor | Floats | None:
        """Readouts of a batch, or None when it does not fit in memory."""
        try:
            values = self.reranker.forward(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            self._make_room(batch, counted)
        else:
            counted.add(batch, computed=self._computed(batch))
            return values
        # Outside the handler, so that the traceback no longer holds the activations.
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        return None

    def _make_room(self, batch: Batch, counted: Statistics) -> None:
        """Remember that a batch was too large, so that the next units need not learn it again."""
        counted.halved += 1
        if not self.deterministic:
            learned = max(int(batch.lengths.max()), self._computed(batch) // 2)
            self.token_budget = min(self.token_budget, learned)

    def _computed(self, batch: Batch) -> int:
        """Tokens that a forward pass works on, padding among them."""
        if self.reranker.packed:
            return len(batch.token_ids)
        return len(batch.lengths) * int(batch.lengths.max())
