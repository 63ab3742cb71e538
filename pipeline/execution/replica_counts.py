"""How many replicas score a run, on what, with how many threads: where settings say ``auto``.

What decides is what the machine or the cluster has, and how much there is to do. Precision and the
size of units follow from whether there are GPUs, so that is settled when a run is planned
(:func:`settled`), and stays with the run. Counts and threads are chosen after that
(:func:`chosen`), anew by each driver for what is left: they change no score beyond float noise.

One thread a replica scores most on CPU: replicas share nothing, while threads of one replica wait
for each other at every layer (docs/hardware.md has the measurements). Threads grow where memory or
the number of units allow no more replicas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.candidates.planning import Unit
from pipeline.cluster.nodes import Nodes
from pipeline.config import JobConfig, ReplicasConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.placement import Place, place_of
from pipeline.execution.replica_memory import fitting
from pipeline.execution.unit_size import UnitSize

#: CPUs of a joined cluster that replicas leave to tasks, which read, encode and commit for them:
#: one in eight, more than the tenth of a CPU's work that this is for the smallest networks.
TASKS_SHARE: Final = 8


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
        least, most = min(pool.least, self.at_work), self.at_work
        count = f"{most}" if least == most else f"{least} to {most}"
        each = " each" if most > 1 else ""
        gpus = f"{pool.gpus:g} GPU{'s' * (pool.gpus > 1)}{each}, " if pool.gpus else ""
        threads = max(1, round(pool.cpus))
        where = {"process": ", in a worker process", "in_process": ", in this process"}
        return (
            f"{count} on {self.device}, {gpus}{threads} thread{'s' * (threads > 1)}{each}"
            f"{where.get(self.place, '')}: {self.reason}"
        )

    def refuse_missing(self) -> None:
        """Refuse to start where replicas could never be placed.

        Raises:
            ConfigurationError: there are fewer GPUs here than a replica needs.
        """
        if self.missing:
            raise ConfigurationError(self.missing)


def settled(config: JobConfig, nodes: Nodes) -> JobConfig:
    """The job with numbers for what a run's files depend on: ``replicas.num_gpus``.

    And for ``replicas.num_cpus`` where bits must repeat: threads split sums, so these must be as
    many everywhere.
    """
    replicas, update = config.replicas, dict[str, float]()
    if replicas.num_gpus == "auto":
        found = nodes.labelled(replicas.labels)
        update["num_gpus"] = 1.0 if found.gpus or found.most_gpus else 0.0
    if replicas.num_cpus == "auto" and config.engine.deterministic:
        update["num_cpus"] = 1.0
    return config.model_copy(update={"replicas": replicas.model_copy(update=update)})


def chosen(
    config: JobConfig,
    nodes: Nodes,
    size: UnitSize,
    todo: Sequence[Unit],
    *,
    planned: int,
    each: int | None,
) -> PlacementChoice:
    """Numbers for what a job leaves open.

    Args:
        config: the job, after :func:`settled`.
        nodes: what there is.
        size: of units.
        todo: units that are left.
        planned: documents of all units.
        each: bytes that a replica on CPU takes; None: not known.
    """
    place = place_of(config, size, todo, planned)
    found, units = nodes.labelled(config.replicas.labels), max(1, len(todo))
    if config.replicas.gpus:
        return _on_gpus(config, found, place, units)
    return _on_cpus(config, found, place, units, each)


def _on_gpus(config: JobConfig, found: Nodes, place: Place, units: int) -> PlacementChoice:
    asked, gpus = config.replicas, config.replicas.gpus
    there = max(found.gpus, found.most_gpus or 0.0)
    room = math.floor(found.gpus / gpus + 1e-9) if found.most_gpus is None else int(there / gpus)
    reasons = []
    if place == "cluster":
        most = asked.given_most or max(1, room)
        least = asked.given_least or (1 if found.cluster or asked.given_most else most)
    else:
        least = most = 1
    if asked.given_most is not None and place == "cluster":
        reasons.append("as replicas.min and max say")
    elif place == "in_process":
        reasons.append("as ray.mode says")
    elif place == "process":
        reasons.append("so little work is done before Ray has started")
    elif found.most_gpus and found.most_gpus > found.gpus:
        reasons.append(f"the cluster has {found.gpus:g} GPUs and may start {there:g}")
    else:
        what = "the cluster has" if found.cluster else "there are" if there != 1 else "there is"
        reasons.append(f"{what} {there:g} GPU{'s' * (there != 1)}")
    if units < most:
        reasons.append(f"{units} unit{'s' * (units > 1)} to score")
    replicas = _numbers(asked, least, most, gpus, _beside_gpu(asked, found, most))
    unused = there - most * gpus
    warnings: tuple[str, ...] = ()
    if place == "cluster" and unused >= 1 and asked.given_most is not None:
        warnings = (f"{unused:g} of {there:g} GPUs stay unused: replicas.max is {most}",)
    return PlacementChoice(
        place=place,
        replicas=replicas,
        at_work=min(most, units),
        device=f"GPU ({found.gpu})" if found.gpu else "GPU",
        reason="; ".join(reasons),
        warnings=warnings,
        missing="" if found.cluster else _missing(config, found),
    )


def _beside_gpu(asked: ReplicasConfig, found: Nodes, most: int) -> float:
    """CPUs of a replica with a GPU: one, or less where a cluster has fewer than replicas need."""
    if asked.num_cpus != "auto":
        return asked.num_cpus
    if not found.cluster or not found.cpus or found.cpus > most:
        return 1.0
    return max(0.1, math.floor(5 * found.cpus / most) / 10)


def _missing(config: JobConfig, found: Nodes) -> str:
    """Why replicas with GPUs cannot be placed on this machine."""
    gpus = config.replicas.gpus
    if found.gpus >= gpus:
        return ""
    here = "this machine has no GPU" if not found.gpus else f"this machine has {found.gpus:g}"
    if found.unusable:
        here = f"the GPU of this machine cannot be used ({found.unusable})"
    return (
        f"replicas.num_gpus: {gpus:g} GPU{'s' * (gpus != 1)} per replica, but {here}. Run it where "
        "there is one, or join a cluster with ray.address. On CPU (--set replicas.num_gpus=0) it "
        "becomes another run, for precision and units are others there; only with engine.dtype set "
        "to this run's precision can it be finished on CPU"
    )


def _on_cpus(
    config: JobConfig, found: Nodes, place: Place, units: int, each: int | None
) -> PlacementChoice:
    asked = config.replicas
    why, warnings = _why_cpu(asked, found)
    threads = None if asked.num_cpus == "auto" else asked.num_cpus
    cores = _for_replicas(config, found)
    reasons = [why]
    if place == "in_process":
        least = most = 1
        reasons.append("ray.mode is in_process")
    elif place == "process":
        least = most = 1
        reasons.append("so little work is done before Ray has started replicas")
    elif asked.given_most is not None:
        most = asked.given_most
        least = asked.given_least or 1
        reasons.append("as replicas.min and max say")
    else:
        most, bound = _most_on_cpus(found, cores, threads or 1.0, units, each)
        least = asked.given_least or (1 if found.cluster else most)
        reasons.append(bound)
    if threads is None:
        threads = float(max(1, math.floor(cores / min(most, units))))
        threads = min(threads, max((math.floor(node.cpus) for node in found.nodes), default=1) or 1)
    elif config.engine.deterministic:
        reasons.append("engine.deterministic keeps to as many threads everywhere")
    return PlacementChoice(
        place=place,
        replicas=_numbers(asked, least, most, 0.0, threads),
        at_work=min(most, units),
        device="CPU",
        reason="; ".join(reasons),
        warnings=warnings,
    )


def _why_cpu(asked: ReplicasConfig, found: Nodes) -> tuple[str, tuple[str, ...]]:
    """Why replicas have no GPU, and what is worth a warning of that."""
    if found.gpus:
        where = "cluster" if found.cluster else "machine"
        many = (
            f"{found.gpus:g} GPU{'s' * (found.gpus != 1)}{f' ({found.gpu})' if found.gpu else ''}"
        )
        return "replicas.num_gpus is 0", (
            f"{many} of this {where} stay{'s' * (found.gpus == 1)} unused: replicas.num_gpus is 0; "
            "set it to auto, or to 1",
        )
    if found.unusable:
        return "its GPU cannot be used", (f"a GPU of this machine is not used: {found.unusable}",)
    if found.cluster:
        return (
            f"no GPU among {len(found.nodes)} nodes of the cluster (where an autoscaler starts "
            "them on demand, set replicas.num_gpus and replicas.max)",
            (),
        )
    return "no GPU here", ()


def _for_replicas(config: JobConfig, found: Nodes) -> float:
    """CPUs that replicas may take; a joined cluster keeps some for tasks, which share its slots."""
    if not found.cluster:
        return max(1.0, found.cpus)
    tasks = max(2 * config.ray.read_cpus, found.cpus / TASKS_SHARE)
    return max(1.0, math.floor(found.cpus - tasks))


def _most_on_cpus(
    found: Nodes, cores: float, threads: float, units: int, each: int | None
) -> tuple[int, str]:
    """Replicas that keep CPUs at work, and what bounds them."""
    what = f"{found.cpus:g} CPU{'s' * (found.cpus != 1)}"
    bounds = {
        f"{what}, and one thread a replica scores most": max(1, math.floor(cores / threads)),
        f"{what}, {units} unit{'s' * (units != 1)} to score": units,
    }
    memory = [fitting(node.memory_bytes, each) for node in found.nodes if node.cpus]
    if each and memory and None not in memory:
        share = f"{sum(node.memory_bytes or 0 for node in found.nodes) / 2**30:,.1f} GiB"
        bounds[
            f"{what}, and {share} of memory hold no more replicas of {each / 2**30:,.1f} GiB"
        ] = sum(one or 0 for one in memory)
    bound = min(bounds, key=lambda name: bounds[name])
    return bounds[bound], bound


def _numbers(
    asked: ReplicasConfig, least: int, most: int, gpus: float, cpus: float
) -> ReplicasConfig:
    return ReplicasConfig(
        min=min(least, most),
        max=most,
        initial=None if asked.initial is None else max(min(least, most), min(asked.initial, most)),
        num_gpus=gpus,
        num_cpus=cpus,
        labels=asked.labels,
    )
