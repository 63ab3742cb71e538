"""What a run's section ``replicas`` comes to, where it says ``auto``.

Precision and the size of units follow from whether there are GPUs, so that is settled when a run is
planned (:func:`settled`), and stays with the run. Counts and threads are chosen after that
(:func:`chosen`), anew by each driver for what is left: they change no score beyond float noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.candidates.planning import Unit
from pipeline.cluster.nodes import Nodes
from pipeline.config import JobConfig, ReplicasConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.placement import Place, place_of
from pipeline.execution.replicas.on_cpus import on_cpus
from pipeline.execution.replicas.on_gpus import missing, on_gpus
from pipeline.execution.unit_size import UnitSize
from pipeline.plurals import counted


@dataclass(frozen=True, kw_only=True)
class PlacementChoice:
    """Where a run's units are worked on, and by how many replicas.

    Attributes:
        place: a cluster (which may be a local Ray), a worker process, or this process.
        replicas: the section with numbers only.
        at_work: replicas that have units: the upper end of the pool, or fewer units.
        device: what replicas compute on: CPU, or GPU with their names.
        reason: why, in words.
        warnings: what is there and not used.
        missing: why the run cannot start as it is set; empty where it can.
    """

    place: Place
    replicas: ReplicasConfig
    at_work: int
    device: str
    reason: str
    warnings: tuple[str, ...] = ()
    missing: str = ""

    def __str__(self) -> str:
        """One line, e.g. ``2 on CPU, 1 thread each: no GPU here; …``."""
        pool = self.replicas
        least = min(pool.least, self.at_work)
        count = f"{least} to {self.at_work}" if least < self.at_work else f"{least}"
        each = " each" if self.at_work > 1 else ""
        gpus = f"{counted(pool.gpus, 'GPU')}{each}, " if pool.gpus else ""
        threads = counted(max(1, round(pool.cpus)), "thread")
        where = {"process": ", in a worker process", "in_process": ", in this process"}
        return (
            f"{count} on {self.device}, {gpus}{threads}{each}{where.get(self.place, '')}: "
            f"{self.reason}"
        )

    def refuse_missing(self) -> None:
        """Refuse to start where replicas could never be placed.

        Raises:
            ConfigurationError: there are fewer GPUs here than a replica needs.
        """
        if self.missing:
            raise ConfigurationError(self.missing)


def settled(config: JobConfig, nodes: Nodes, *, network: bool = True) -> JobConfig:
    """The job with numbers for what a run's files depend on: ``replicas.num_gpus``.

    And for ``replicas.num_cpus`` where bits must repeat: threads split sums, so these must be as
    many everywhere.

    Args:
        config: the job.
        nodes: what there is.
        network: whether its family has weights; others compute on CPU unless asked.
    """
    replicas, update = config.replicas, dict[str, float]()
    if replicas.num_gpus == "auto":
        found = nodes.labelled(replicas.labels)
        update["num_gpus"] = 1.0 if network and (found.gpus or found.most_gpus) else 0.0
    if replicas.num_cpus == "auto" and config.engine.deterministic:
        update["num_cpus"] = 1.0
    return config.model_copy(update={"replicas": replicas.model_copy(update=update)})


def chosen(
    config: JobConfig,
    nodes: Nodes,
    size: UnitSize,
    todo: Sequence[Unit],
    *,
    whole: int,
    each: int | None,
    network: bool = True,
) -> PlacementChoice:
    """Numbers for what a job leaves open.

    Args:
        config: the job, after :func:`settled`.
        nodes: what there is.
        size: of units.
        todo: units that are left.
        whole: documents of the whole input.
        each: bytes that a replica on CPU takes; None: not known.
        network: whether its family has weights.
    """
    asked, place = config.replicas, place_of(config, size, todo, whole, network=network)
    found, units = nodes.labelled(asked.labels), max(1, len(todo))
    if asked.gpus:
        counts = on_gpus(asked, found, place, units)
        device = f"GPU ({found.gpu})" if found.gpu else "GPU"
    else:
        counts, device = on_cpus(config, found, place, units, each, network), "CPU"
    return PlacementChoice(
        place=place,
        replicas=counts.numbers(asked),
        at_work=min(counts.most, units),
        device=device,
        reason="; ".join(counts.reasons),
        warnings=counts.warnings,
        missing=missing(asked, found) if asked.gpus else "",
    )
