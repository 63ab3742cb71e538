"""What the host does around the network, stage by stage: the CPU that a GPU needs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.bench.measuring import Cost
from pipeline.candidates.lists import CandidateLists
from pipeline.outputs.parquet import Parquet
from pipeline.outputs.ranked_unit import rank_unit
from pipeline.rerankers.base import Reranker
from pipeline.sequences.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Host:
    """Of a whole workload.

    Attributes:
        stages: cost of each, in the order in which a unit goes through them.
        bytes_encoded: what encoded units weigh on their way to the replicas.
    """

    stages: dict[str, Cost]
    bytes_encoded: int


def host_costs(
    reranker: Reranker, units: Sequence[CandidateLists], scores: npt.NDArray[np.float32]
) -> Host:
    """Take every unit through all that is not the network.

    Args:
        reranker: the CPU half of the model.
        units: of a workload.
        scores: float32 [N] of all its documents.

    Stages: ``encode`` finds distinct texts, tokenises them and assembles sequences; ``carry`` puts
    them into Arrow and takes them out again, as the object store has it; ``rank`` and ``write``
    make the unit's file.
    """
    stages = {name: Cost() for name in ("encode", "carry", "rank", "write")}
    weight, start = 0, 0
    for number, lists in enumerate(units):
        stop = start + lists.documents.num_rows
        with stages["encode"].adding():
            sequences = reranker.encode(lists)
        with stages["carry"].adding():
            payload = sequences.to_ipc()
            Sequences.from_ipc(payload)
        with stages["rank"].adding():
            ranked = rank_unit(f"unit-{number}", lists, scores[start:stop])
        with stages["write"].adding():
            Parquet().write(ranked.ranked, {})
        weight += len(payload)
        start = stop
    return Host(stages=stages, bytes_encoded=weight)
