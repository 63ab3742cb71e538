"""What there is to compute on: this machine as one node, or the nodes of a joined cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.machine import Gpu, cpus, driver_cuda, gpus, memory_bytes, torch_cuda

#: Label by which Ray names a node's GPUs, e.g. ``H100``.
_GPU_LABEL: Final = "ray.io/accelerator-type"

#: Where ``ray up`` leaves the cluster's configuration on its head node.
_BOOTSTRAP: Final = Path("~/ray_bootstrap_config.yaml")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine.

    Attributes:
        cpus: that replicas and tasks may take.
        gpus: likewise; those that torch can use.
        gpu: their name, empty where there is none.
        memory_bytes: that processes may take; None: not known.
        labels: of Ray.
    """

    cpus: float
    gpus: float = 0.0
    gpu: str = ""
    memory_bytes: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """What a run may use.

    Attributes:
        nodes: that are there now.
        cluster: whether they are a joined cluster's, not this machine.
        unusable: why GPUs that are here cannot be used; empty: there are none such.
        most_gpus: GPUs that an autoscaler may bring the cluster to; None: not known.
    """

    nodes: tuple[Node, ...]
    cluster: bool
    unusable: str = ""
    most_gpus: float | None = None

    @property
    def cpus(self) -> float:
        """Of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """Of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def gpu(self) -> str:
        """Names of the GPUs."""
        return ", ".join(sorted({node.gpu for node in self.nodes if node.gpus and node.gpu}))

    def labelled(self, labels: Mapping[str, str]) -> Nodes:
        """Those with these labels; all of them where there are none."""
        kept = tuple(node for node in self.nodes if matches(node.labels, labels))
        most = self.most_gpus if not labels else None  # configurations do not say labels
        return Nodes(nodes=kept, cluster=self.cluster, unusable=self.unusable, most_gpus=most)


def this_machine() -> Nodes:
    """This machine, with its GPUs where torch can use them."""
    found = gpus()
    why = unusable(found)
    usable = () if why else found
    node = Node(
        cpus=float(cpus()),
        gpus=float(len(usable)),
        gpu=", ".join(sorted({gpu.name for gpu in usable})),
        memory_bytes=memory_bytes(),
    )
    return Nodes(nodes=(node,), cluster=False, unusable=why)


def unusable(found: tuple[Gpu, ...]) -> str:
    """Why torch cannot use the GPUs of this machine; empty where it can, or there are none."""
    if not found:
        return ""
    built, runs = torch_cuda(), driver_cuda()
    if built is None:
        return "the installed torch is built without CUDA; install a CUDA build"
    if runs is not None and runs[0] < int(built.partition(".")[0]):
        return (
            f"the installed torch is built for CUDA {built} and the driver runs up to "
            f"{runs[0]}.{runs[1]}; install a newer driver, or a build of torch for it"
        )
    return ""


def joined_cluster() -> Nodes:
    """The cluster that this process has joined."""
    import ray

    found = []
    nodes: Any = ray.nodes  # not typed
    for node in nodes():
        if node["Alive"]:
            resources, labels = node["Resources"], node.get("Labels") or {}
            found.append(
                Node(
                    cpus=float(resources.get("CPU", 0.0)),
                    gpus=float(resources.get("GPU", 0.0)),
                    gpu=labels.get(_GPU_LABEL, ""),
                    memory_bytes=int(resources["memory"]) if "memory" in resources else None,
                    labels=labels,
                )
            )
    return Nodes(nodes=tuple(found), cluster=True, most_gpus=_most_gpus())


def _most_gpus() -> float | None:
    """GPUs that the joined cluster's autoscaler may start, with those that are there.

    Ray knows where an autoscaler has reported its configuration; open-source ones do not, but
    ``ray up`` leaves the file on the head node, where drivers of Ray jobs run.
    """
    import ray

    reported = ray._private.state.state.get_max_resources_from_cluster_config()
    if reported is not None:
        return float(reported.get("GPU", 0.0))
    try:
        config = yaml.safe_load(_BOOTSTRAP.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return most_gpus_of(config)


def most_gpus_of(config: Any) -> float | None:
    """GPUs of the nodes that a configuration of ``ray up`` allows; None where it does not say.

    Args:
        config: the parsed file, with every node type's resources filled in as on a head node.
    """
    try:
        kinds, head = dict(config["available_node_types"]), config.get("head_node_type")
        each = {
            name: float((kind.get("resources") or {}).get("GPU", 0)) for name, kind in kinds.items()
        }
        most = sum(
            count * (1 if name == head else int(kinds[name].get("max_workers", 0)))
            for name, count in each.items()
        )
        return min(most, max(each.values(), default=0.0) * (1 + int(config["max_workers"])))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def matches(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether a node's labels are what a selector of Ray asks for.

    Values are ``x``, ``!x``, ``in(x, y)`` or ``!in(x, y)``
    (https://docs.ray.io/en/latest/ray-core/scheduling/labels.html).
    """
    for key, asked in selector.items():
        wanted = asked.removeprefix("!")
        listed = re.fullmatch(r"in\((.*)\)", wanted)
        values = [wanted] if listed is None else [v.strip() for v in listed[1].split(",")]
        if (labels.get(key) in values) is asked.startswith("!"):
            return False
    return True
