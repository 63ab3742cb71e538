"""This package's engine as a bench runs it, in each of its ways."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pipeline.bench.measuring import Cost, Memory
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists
from pipeline.config import EngineConfig
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.scoring import document_scores
from pipeline.sequences.arrays import Floats

Way = Literal["auto", "packed", "padded", "unshared"]

ENCODE, FORWARD, DECODE = "encode", "forward", "decode"

#: Units that are encoded, computed or decoded at a time beside a GPU.
_UNDER_WAY: Final = 3

_ABOUT: Final = {
    "packed": "sequences of different lengths side by side, no padding",
    "padded": "our engine with padded matrices, sorted by length inside a unit",
    "unshared": "our packed engine, every prompt computed whole",
}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one pass over a workload gave.

    Attributes:
        scores: float32 [N], in the order of the documents.
        stages: cost of each part, where there are parts.
        tokens: that had to be computed; None where it is for the caller to say.
        computed: tokens that the network worked on, padding among them; None where unknown.
        device_s: seconds between the first and the last kernel of each unit; 0 where unknown.
        elsewhere: what the pass took and held, of who works in a process of its own.
    """

    scores: npt.NDArray[np.float32]
    stages: dict[str, Cost] = field(default_factory=dict)
    tokens: int | None = None
    computed: int | None = None
    device_s: float = 0.0
    elsewhere: tuple[Cost, Memory] | None = None


class BenchEngine:
    """Encode, forward, decode, one after the other in this process.

    Attributes:
        name: packed, padded or unshared.
        about: one line for people.
        shares: whether it computes what prompts have in common once.
        precision: of the network's body.
        reranker: the CPU half of the model.
        engine: the loaded one.
    """

    def __init__(self, subject: Subject, way: Way, settings: EngineConfig) -> None:
        """Load the network.

        Args:
            subject: the model.
            way: ``auto`` is what a run would do.
            settings: of the engine; packing and shared beginnings are as ``way`` says.

        Raises:
            ConfigurationError: packing is asked for and the family or the device cannot.
        """
        packing = "packed" if way in ("packed", "unshared") else way
        self.reranker = build_reranker(subject.model)
        config = settings.model_copy(
            update={"packing": packing, "share_prefixes": way != "unshared", "dtype": subject.dtype}
        )
        self.engine = build_engine(
            self.reranker,
            config,
            subject.device.type,
            rebuild=lambda files: build_reranker(subject.model, files=files),
        )
        shared = "unshared" if way == "unshared" else None
        self.name = shared or ("packed" if self.reranker.packed else "padded")
        self.about = _ABOUT[self.name]
        self.shares = self.engine.share_prefixes
        self.precision = subject.dtype

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Score all units, from texts to scores.

        On a CPU one unit after the other, each stage with the whole machine. On a GPU some units
        are under way at a time, as in a run, where encoding, computing and decoding go on beside
        each other; what the network takes is then told by the device's clock.
        """
        before = self.engine.statistics.as_dict()
        if self.engine.device.type == "cuda":
            with ThreadPoolExecutor(_UNDER_WAY) as pool:
                done = list(pool.map(self._unit, units))
        else:
            done = [self._unit(lists) for lists in units]
        after = self.engine.statistics.as_dict()
        stages = {
            name: Cost(
                wall_s=sum(costs[name].wall_s for _, costs in done),
                cpu_s=sum(costs[name].cpu_s for _, costs in done),
            )
            for name in (ENCODE, FORWARD, DECODE)
        }
        device_s = after["device_s"] - before["device_s"]
        if self.engine.device.type == "cuda":
            stages[FORWARD].wall_s = device_s
        return Scored(
            scores=np.concatenate([scores for scores, _ in done]),
            stages=stages,
            tokens=int(after["tokens"] - before["tokens"]),
            computed=int(after["computed_tokens"] - before["computed_tokens"]),
            device_s=device_s,
        )

    def _unit(self, lists: CandidateLists) -> tuple[Floats, dict[str, Cost]]:
        """Scores of one unit's documents, and what its stages took."""
        stages = {ENCODE: Cost(), FORWARD: Cost(), DECODE: Cost()}
        with stages[ENCODE].adding():
            sequences = self.reranker.encode(lists)
        with stages[FORWARD].adding():
            sequences, readouts = self.engine.run(lists, sequences)
        with stages[DECODE].adding():
            scores, _ = document_scores(self.reranker, lists, sequences, readouts)
        return scores, stages
