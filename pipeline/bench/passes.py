"""Passes over a workload, what they cost, and the figures that follow."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.bench.engines import FORWARD, Scored
from pipeline.bench.measuring import Cost, Memory, Spread, memory
from pipeline.bench.results import EngineFigures, NetworkOnly
from pipeline.candidates.lists import CandidateLists

if TYPE_CHECKING:
    import torch


class Scorer(Protocol):
    """Whatever scores candidate lists."""

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Score all units, from texts to scores on the host."""


@dataclass(kw_only=True)
class Passes:
    """Of one engine, in the order in which they were made.

    Attributes:
        scored: what each gave.
        costs: what each took.
        memories: what each held at most.
    """

    scored: list[Scored] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)

    def add(self, scorer: Scorer, units: Sequence[CandidateLists], device: torch.device) -> None:
        """Score all units once more."""
        gc.collect()
        cost = Cost()
        with memory(device) as peak, cost.adding():
            scored = scorer.score(units)
        self.scored.append(scored)
        taken, held = scored.elsewhere or (cost, peak)
        self.costs.append(taken)
        self.memories.append(held)

    @property
    def stages(self) -> dict[str, Cost]:
        """Median cost of each stage; empty where the engine has none."""
        return {
            name: Cost(
                wall_s=float(np.median([each.stages[name].wall_s for each in self.scored])),
                cpu_s=float(np.median([each.stages[name].cpu_s for each in self.scored])),
            )
            for name in self.scored[-1].stages
        }


def figures(passes: Passes, *, name: str, about: str, documents: int, tokens: int) -> EngineFigures:
    """What an engine reached; speeds by the median pass.

    Args:
        passes: at least one.
        name: of the engine.
        about: one line for people.
        documents: of the workload.
        tokens: of all its prompts; what of the network's work was needed unless the engine says.
    """
    last, stages = passes.scored[-1], passes.stages
    wall = Spread.of([cost.wall_s for cost in passes.costs])
    cpu = Spread.of([cost.cpu_s for cost in passes.costs])
    needed = last.tokens if last.tokens is not None else tokens
    network = stages.get(FORWARD)
    busy = _device_busy(passes)
    return EngineFigures(
        name=name,
        about=about,
        wall_s=wall,
        cpu_s=cpu,
        documents_per_s=documents / wall.median,
        documents_per_cpu_s=documents / cpu.median,
        tokens_per_s=tokens / wall.median,
        padding_waste=1 - needed / last.computed if last.computed else None,
        stages=stages,
        network_only=NetworkOnly(
            documents_per_s=documents / network.wall_s,
            documents_per_cpu_s=documents / network.cpu_s,
        )
        if network
        else None,
        device_busy=busy,
        device_starved=None if busy is None else 1 - busy,
        peak_rss_bytes=max(each.rss for each in passes.memories),
        peak_device_bytes=max(each.device for each in passes.memories),
    )


def _device_busy(passes: Passes) -> float | None:
    """Share of a pass between the first and the last kernel of a unit."""
    if not passes.scored[-1].device_s:
        return None
    pairs = zip(passes.scored, passes.costs, strict=True)
    return float(np.median([each.device_s / cost.wall_s for each, cost in pairs]))
