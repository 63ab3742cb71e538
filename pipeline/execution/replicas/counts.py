"""A pool of replicas in numbers, with the words that say why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.cluster.nodes import Nodes
from pipeline.config import ReplicasConfig
from pipeline.execution.placement import Place

#: Why a cluster counts for nothing yet.
UNSEEN: Final = "the cluster is asked when the run starts, and nodes with replicas.labels counted"

AS_SET: Final = "as replicas.min and max say"

#: Why there is one replica where units are not worked on in a cluster.
ALONE: Final[Mapping[Place, str]] = {
    "in_process": "ray.mode is in_process",
    "process": "so little work is done before Ray has started",
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A pool.

    Attributes:
        least: replicas that are kept.
        most: replicas under load.
        cpus: of each, which are its threads.
        reasons: why, in words.
        warnings: what is there and not used.
    """

    least: int
    most: int
    cpus: float
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def numbers(self, asked: ReplicasConfig) -> ReplicasConfig:
        """The section with these numbers in place of what it left open."""
        least = min(self.least, self.most)
        first = asked.initial
        return ReplicasConfig(
            min=least,
            max=self.most,
            initial=None if first is None else max(least, min(first, self.most)),
            num_gpus=asked.gpus,
            num_cpus=self.cpus,
            labels=asked.labels,
        )


def unseen(nodes: Nodes) -> bool:
    """Whether nothing is known of a cluster that replicas could be counted by."""
    return nodes.cluster and not nodes.nodes
