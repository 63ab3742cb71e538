"""This package's engine as a contender, in each of its ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from pipeline.benchmarking.contender import Contender, Scored, Subject
from pipeline.benchmarking.measuring import Cost
from pipeline.candidates.lists import CandidateLists
from pipeline.config import EngineConfig
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.scoring import document_scores

Way = Literal["auto", "packed", "padded", "unshared"]

ENCODE, FORWARD, DECODE = "encode", "forward", "decode"

_ABOUT: Final = {
    "packed": "sequences of different lengths side by side, no padding",
    "padded": "our engine with padded matrices, sorted by length inside a unit",
    "unshared": "our packed engine, every prompt computed whole",
}


class OurEngine(Contender):
    """Encode, forward, decode, one after the other in this process.

    Attributes:
        reranker: the CPU half of the model.
        engine: the loaded one.
    """

    ours = True

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
        self.engine = build_engine(self.reranker, config, subject.device.type)
        shared = "unshared" if way == "unshared" else None
        self.name = shared or ("packed" if self.reranker.packed else "padded")
        self.about = _ABOUT[self.name]
        self.shares = self.engine.share_prefixes

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Score all units as a replica does, encoding included."""
        stages = {ENCODE: Cost(), FORWARD: Cost(), DECODE: Cost()}
        before = self.engine.statistics.as_dict()
        scores = []
        for lists in units:
            with stages[ENCODE].adding():
                sequences = self.reranker.encode(lists)
            with stages[FORWARD].adding():
                sequences, readouts = self.engine.run(lists, sequences)
            with stages[DECODE].adding():
                found, _ = document_scores(self.reranker, lists, sequences, readouts)
            scores.append(found)
        after = self.engine.statistics.as_dict()
        return Scored(
            scores=np.concatenate(scores),
            stages=stages,
            tokens=int(after["tokens"] - before["tokens"]),
            computed=int(after["computed_tokens"] - before["computed_tokens"]),
            device_s=after["device_s"] - before["device_s"],
        )
