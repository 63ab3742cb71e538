"""Replicas with GPUs: one for each, or as many as share one."""

from __future__ import annotations

import math

from pipeline.cluster.nodes import Nodes
from pipeline.config import ReplicasConfig
from pipeline.execution.placement import Place
from pipeline.execution.replicas.counts import ALONE, AS_SET, UNSEEN, Counts, unseen
from pipeline.plurals import counted


def on_gpus(asked: ReplicasConfig, nodes: Nodes, place: Place, units: int) -> Counts:
    """The pool of a run whose replicas have GPUs.

    Args:
        asked: the section, with a number of GPUs.
        nodes: those with its labels.
        place: where units are worked on.
        units: that are left.
    """
    there = max(nodes.gpus, nodes.most_gpus or 0.0)
    if place in ALONE:
        cpus = _cpus(asked, nodes, 1)
        return Counts(least=1, most=1, cpus=cpus, reasons=(_there(nodes), ALONE[place]))
    most = asked.given_most or max(1, _fitting(asked, nodes))
    # On a cluster GPUs come and go, and may be others' just now.
    least = asked.given_least or (1 if nodes.cluster or asked.given_most else most)
    unused = there - most * asked.gpus
    warnings: tuple[str, ...] = ()
    if asked.given_most is not None and unused >= 1:
        warnings = (f"{unused:g} of {there:g} GPUs stay unused: replicas.max is {most}",)
    elif unused >= 1 and there >= asked.gpus:
        warnings = (
            f"{unused:g} of {there:g} GPUs stay unused: replicas.num_gpus is {asked.gpus:g}",
        )
    reasons = [UNSEEN if unseen(nodes) and not asked.given_most else _there(nodes)]
    if asked.given_most is not None:
        reasons = [AS_SET]
    if units < most:
        reasons.append(f"{counted(units, 'unit')} to score")
    return Counts(
        least=least,
        most=most,
        cpus=_cpus(asked, nodes, most),
        reasons=tuple(reasons),
        warnings=warnings,
    )


def missing(asked: ReplicasConfig, nodes: Nodes) -> str:
    """Why replicas with GPUs can never be placed on this machine; empty where they can."""
    if nodes.cluster or nodes.gpus >= asked.gpus:
        return ""
    here = f"this machine has {nodes.gpus:g}" if nodes.gpus else "this machine has no GPU"
    if nodes.unusable:
        here = f"the GPU of this machine cannot be used ({nodes.unusable})"
    return (
        f"replicas.num_gpus: {counted(asked.gpus, 'GPU')} per replica, but {here}. Run it where "
        "there is one, or join a cluster with ray.address. On CPU (--set replicas.num_gpus=0) it "
        "is another run, for units and precision are others there; a run that was begun on GPU is "
        "finished on CPU only with engine.dtype set to its precision"
    )


def _fitting(asked: ReplicasConfig, nodes: Nodes) -> int:
    """Replicas that the GPUs hold; none takes GPUs of two nodes."""
    placed = sum(asked.fitting(node.gpus) for node in nodes.nodes)
    more = nodes.most_gpus or 0.0
    return max(placed, asked.fitting(more)) if more > nodes.gpus else placed


def _there(nodes: Nodes) -> str:
    if nodes.most_gpus and nodes.most_gpus > nodes.gpus:
        return f"the cluster has {counted(nodes.gpus, 'GPU')} and may start {nodes.most_gpus:g}"
    if nodes.cluster:
        return f"the cluster has {counted(nodes.gpus, 'GPU')}"
    return f"{counted(nodes.gpus, 'GPU')} here"


def _cpus(asked: ReplicasConfig, nodes: Nodes, most: int) -> float:
    """CPUs of a replica: one, or less where a cluster has fewer than its replicas need."""
    if asked.num_cpus != "auto":
        return asked.num_cpus
    if not nodes.cluster or not nodes.cpus or nodes.cpus > most:
        return 1.0
    return max(0.1, math.floor(5 * nodes.cpus / most) / 10)  # half of what there is, for tasks
