"""Replicas on CPU: as many as keep the CPUs at work, and as few threads as that takes.

One thread a replica scores most: replicas share nothing, while threads of one replica wait for each
other at every layer (docs/hardware.md has the measurements). Threads grow where memory, or the
number of units, allows no more replicas.
"""

from __future__ import annotations

import math
from typing import Final

from pipeline.cluster.nodes import Nodes
from pipeline.config import JobConfig
from pipeline.execution.placement import Place
from pipeline.execution.replicas.counts import ALONE, AS_SET, UNSEEN, Counts, unseen
from pipeline.execution.replicas.memory import fitting
from pipeline.plurals import counted

#: Of so many CPUs of a joined cluster, replicas leave one to the tasks that read, encode and
#: commit for them: these take up to a tenth of the time of scoring, with the smallest networks.
_TASKS_SHARE: Final = 8


def on_cpus(
    config: JobConfig, nodes: Nodes, place: Place, units: int, each: int | None, network: bool
) -> Counts:
    """The pool of a run whose replicas have no GPU.

    Args:
        config: the job.
        nodes: those with the labels of its replicas.
        place: where units are worked on.
        units: that are left.
        each: bytes that a replica takes; None: not known.
        network: whether the family has weights.
    """
    asked, cores = config.replicas, _for_replicas(config, nodes)
    no_network: tuple[str, tuple[str, ...]] = ("this family has no network", ())
    why, warnings = _why_no_gpu(nodes) if network else no_network
    threads = None if asked.num_cpus == "auto" else asked.num_cpus
    if place in ALONE:
        least, most, bound = 1, 1, ALONE[place]
    elif asked.given_most is not None:
        least, most, bound = asked.given_least or 1, asked.given_most, AS_SET
    elif unseen(nodes):
        least, most, bound = 1, 1, UNSEEN
    else:
        most, bound = _most(nodes, cores, threads, units, each)
        least = 1 if nodes.cluster else most
    if threads is None:
        threads = float(max(1, math.floor(min(cores / min(most, units), _largest(nodes)))))
    fixed = ("engine.deterministic: as many threads everywhere",) * config.engine.deterministic
    return Counts(
        least=least, most=most, cpus=threads, reasons=(why, bound, *fixed), warnings=warnings
    )


def _why_no_gpu(nodes: Nodes) -> tuple[str, tuple[str, ...]]:
    """Why replicas have no GPU, and what is worth a warning of that."""
    if nodes.gpus:
        found = counted(nodes.gpus, "GPU") + (f" ({nodes.gpu})" if nodes.gpu else "")
        where = "cluster" if nodes.cluster else "machine"
        return "replicas.num_gpus is 0", (
            f"{found} of this {where} unused: replicas.num_gpus is 0; set it to auto, or to 1",
        )
    if nodes.unusable:
        return "the GPU here cannot be used", (
            f"a GPU of this machine is not used: {nodes.unusable}",
        )
    if unseen(nodes):
        return "replicas.num_gpus is 0", ()
    if nodes.cluster:
        return (
            f"no GPU among {counted(len(nodes.nodes), 'node')} of the cluster (where it starts "
            "such nodes on demand, set replicas.num_gpus and replicas.max)",
            (),
        )
    return "no GPU here", ()


def _for_replicas(config: JobConfig, nodes: Nodes) -> float:
    """CPUs that replicas may take; a joined cluster keeps some for tasks, which share its slots."""
    if not nodes.cluster:
        return max(1.0, nodes.cpus)
    tasks = max(2 * config.ray.read_cpus, nodes.cpus / _TASKS_SHARE)
    return max(1.0, math.floor(nodes.cpus - tasks))


def _largest(nodes: Nodes) -> float:
    """CPUs of the largest node, which bound the threads of a replica."""
    return max((node.cpus for node in nodes.nodes), default=1.0)


def _most(
    nodes: Nodes, cores: float, threads: float | None, units: int, each: int | None
) -> tuple[int, str]:
    """Replicas that keep CPUs at work, and what bounds them."""
    what = counted(nodes.cpus, "CPU")
    most, bound = max(1, math.floor(cores / (threads or 1))), "one thread a replica scores most"
    if threads is not None:
        bound = f"replicas.num_cpus is {threads:g}"
    room = [fitting(node.memory_bytes, each) for node in nodes.nodes if node.cpus]
    fits = sum(one or 0 for one in room) if room and None not in room else most
    if each is not None and fits < most:
        memory = sum(node.memory_bytes or 0 for node in nodes.nodes)
        upto = f"up to {counted(fits, 'replica')} of {each / 2**30:,.1f} GiB"
        bound = f"{memory / 2**30:,.1f} GiB hold {upto}"
        # As many as keep all CPUs at work with the same number of threads each.
        most = fits if threads is not None else max(1, int(cores // math.ceil(cores / fits)))
    if units < most:
        most, bound = units, f"{counted(units, 'unit')} to score"
    return most, f"{what}, {bound}"
