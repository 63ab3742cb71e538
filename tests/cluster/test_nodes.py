"""GPUs that a machine has and torch can use; nodes of a cluster by labels and by configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cluster.nodes import Node, Nodes, joined_cluster, matches, most_gpus_of, this_machine
from pipeline.machine import cpus, memory_bytes
from tests.support.driver import Card, Driver, torch_of

ROOT = Path(__file__).resolve().parents[2]


def test_gpus_of_this_machine_count_where_torch_can_use_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Driver([Card(uuid="GPU-1"), Card(uuid="GPU-2")]).install(monkeypatch)
    torch_of("13.0", monkeypatch, tmp_path)
    [node] = this_machine().nodes
    assert (node.gpus, node.gpu) == (2, "NVIDIA H100 80GB HBM3")
    assert (node.cpus, node.memory_bytes) == (cpus(), memory_bytes())
    Driver([Card(uuid="GPU-1"), Card(uuid="GPU-2")]).install(monkeypatch, visible="1")
    assert this_machine().gpus == 1


@pytest.mark.parametrize(
    ("built", "runs", "said"),
    [
        (None, 13000, "built without CUDA"),
        ("13.0", 12080, "built for CUDA 13.0 and the driver runs up to 12.8"),
        ("12.8", 13000, ""),
        ("12.8", 12040, ""),
    ],
)
def test_why_gpus_are_not_used_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built: str | None, runs: int, said: str
) -> None:
    Driver([Card()], cuda=runs).install(monkeypatch)
    torch_of(built, monkeypatch, tmp_path)
    found = this_machine()
    assert found.gpus == (0 if said else 1)
    assert said in found.unusable
    Driver().install(monkeypatch)
    assert this_machine().unusable == ""


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({}, True),
        ({"pool": "gpu"}, True),
        ({"pool": "cpu"}, False),
        ({"zone": "a"}, False),
        ({"pool": "!cpu"}, True),
        ({"pool": "!gpu"}, False),
        ({"zone": "!a"}, True),
        ({"pool": "in(cpu, gpu)"}, True),
        ({"pool": "!in(cpu,gpu)"}, False),
        ({"pool": "gpu", "zone": "a"}, False),
    ],
)
def test_labels_are_matched_as_ray_matches_them(selector: dict[str, str], fits: bool) -> None:
    labels = {"pool": "gpu"}
    assert matches(labels, selector) is fits
    nodes = Nodes(nodes=(Node(cpus=1, labels=labels),), cluster=True, most_gpus=8)
    assert nodes.labelled(selector).cpus == int(fits)
    assert nodes.labelled(selector).most_gpus == (None if selector else 8)


def test_nodes_of_the_cluster_that_was_joined(ray_cluster: None) -> None:
    found = joined_cluster()
    assert (found.cpus, found.gpus, found.cluster, len(found.nodes)) == (4, 1, True, 1)
    assert found.nodes[0].memory_bytes
    assert found.labelled({"no.such/label": "x"}).nodes == ()


@pytest.mark.parametrize(
    ("config", "gpus"),
    [
        ({"max_workers": 4}, None),
        ({"available_node_types": {"a": {"resources": {"GPU": 1}, "max_workers": 3}}}, None),
        ("text", None),
        (
            {
                "max_workers": 8,
                "head_node_type": "head",
                "available_node_types": {
                    "head": {"resources": {"CPU": 4}},
                    "gpu": {"resources": {"GPU": 4}, "max_workers": 2},
                    "more": {"resources": {"GPU": 1}, "max_workers": 100},
                },
            },
            36,
        ),
        (
            {"max_workers": 3, "available_node_types": {"gpu": {"resources": None}}},
            0,
        ),
    ],
    ids=str,
)
def test_gpus_that_a_configuration_allows(config: Any, gpus: float | None) -> None:
    assert most_gpus_of(config) == gpus


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_gpus_of_our_own_configurations(name: str) -> None:
    config = yaml.safe_load((ROOT / "conf/cluster" / name).read_text(encoding="utf-8"))
    for kind in config["available_node_types"].values():  # as `ray up` finds them out in a cloud
        kind.setdefault("resources", {"GPU": 1} if "gpu" in str(kind).lower() else {"CPU": 8})
    found = most_gpus_of(config)
    assert found is not None
    assert found >= 1
