"""How many replicas there are, on what and with how many threads, where a job leaves it open."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.candidates.planning import Unit
from pipeline.cluster.nodes import Node, Nodes
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.replicas.choice import PlacementChoice, chosen, settled
from pipeline.execution.unit_size import UnitSize

GIB = 2**30
H100 = "NVIDIA H100"


def config(**sections: Any) -> JobConfig:
    job = {"model": {"name": "lexical"}, "input": {"path": "a"}, "output": {"path": "b"}}
    return JobConfig.model_validate(job | sections)


def machine(cpus: int, gpus: int = 0, *, memory: int = 256 * GIB, unusable: str = "") -> Nodes:
    node = Node(cpus=cpus, gpus=gpus, gpu=H100 if gpus else "", memory_bytes=memory)
    return Nodes(nodes=(node,), cluster=False, unusable=unusable)


def cluster(*nodes: Node, most_gpus: float | None = None) -> Nodes:
    return Nodes(nodes=nodes, cluster=True, most_gpus=most_gpus)


def choice(
    nodes: Nodes, *, units: int = 100, seconds: float | None = 1e6, each: int = GIB, **sections: Any
) -> PlacementChoice:
    todo = [Unit(name=f"{n:024x}", start=n, stop=n + 1, documents=10) for n in range(units)]
    size = UnitSize(documents=10, first=10, reason="", seconds=seconds)
    if nodes.cluster:
        sections = {"ray": {"address": "10.0.0.1:6379"}} | sections
    job = settled(config(**sections), nodes)
    return chosen(job, nodes, size, todo, whole=10 * units, each=each)


def numbers(choice: PlacementChoice) -> tuple[int, int, float, float]:
    pool = choice.replicas
    return pool.least, pool.most, pool.gpus, pool.cpus


def assert_chosen(found: PlacementChoice, expected: tuple[float, ...], said: str) -> None:
    """These numbers, for a reason with these words; nothing is left unused or missing."""
    assert numbers(found) == expected
    assert said in str(found)
    assert not found.warnings
    found.refuse_missing()


@pytest.fixture(autouse=True)
def no_ray_around(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        ({"nodes": machine(2)}, (2, 2, 0, 1), "2 on CPU, 1 thread each: no GPU here; 2 CPUs"),
        ({"nodes": machine(1)}, (1, 1, 0, 1), "1 on CPU, 1 thread: no GPU here; 1 CPU,"),
        ({"nodes": machine(64)}, (64, 64, 0, 1), "one thread a replica scores most"),
        ({"nodes": machine(16), "units": 4}, (4, 4, 0, 4), "4 units to score"),
        (
            {"nodes": machine(16, memory=10 * GIB), "each": 2 * GIB},
            (2, 2, 0, 8),
            "16 CPUs, 10.0 GiB hold up to 3 replicas of 2.0 GiB",
        ),
        (
            {"nodes": machine(64, memory=64 * GIB)},
            (32, 32, 0, 2),
            "64.0 GiB hold up to 49",
        ),
        ({"nodes": machine(8, memory=GIB), "each": 2 * GIB}, (1, 1, 0, 8), "hold up to 1"),
        ({"nodes": machine(8), "replicas": {"num_cpus": 2}}, (4, 4, 0, 2), "4 on CPU, 2 threads"),
        ({"nodes": machine(8), "replicas": {"min": 2}}, (2, 2, 0, 4), "as replicas.min and max"),
        ({"nodes": machine(8), "replicas": {"max": 2}}, (1, 2, 0, 4), "1 to 2 on CPU, 4 threads"),
        ({"nodes": machine(8), "replicas": {"max": 2, "min": 2, "num_cpus": 1}}, (2, 2, 0, 1), ""),
        (
            {"nodes": machine(8), "engine": {"deterministic": True}},
            (8, 8, 0, 1),
            "engine.deterministic",
        ),
        ({"nodes": machine(8), "ray": {"mode": "in_process"}}, (1, 1, 0, 8), "in this process"),
        ({"nodes": machine(8), "seconds": 1.0}, (1, 1, 0, 8), "in a worker process"),
        ({"nodes": machine(8), "units": 1}, (1, 1, 0, 8), "in a worker process"),
        (
            {"nodes": machine(8), "seconds": 1.0, "engine": {"deterministic": True}},
            (1, 1, 0, 1),
            "in a worker process",
        ),
        ({"nodes": machine(8), "seconds": 1.0, "replicas": {"min": 2}}, (2, 2, 0, 4), ""),
    ],
    ids=str,
)
def test_cpus_of_this_machine_are_shared_out(
    given: dict[str, Any], expected: tuple[float, ...], said: str
) -> None:
    assert_chosen(choice(**given), expected, said)


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        (
            {"nodes": machine(16, 1)},
            (1, 1, 1, 1),
            f"1 on GPU ({H100}), 1 GPU, 1 thread: 1",
        ),
        ({"nodes": machine(64, 8)}, (8, 8, 1, 1), "8 on GPU"),
        ({"nodes": machine(64, 8), "units": 3}, (8, 8, 1, 1), "3 on GPU (NVIDIA H100), 1 GPU each"),
        ({"nodes": machine(64, 8), "replicas": {"num_gpus": 0.5}}, (16, 16, 0.5, 1), "16 on GPU"),
        ({"nodes": machine(64, 8), "replicas": {"num_gpus": 0.3}}, (24, 24, 0.3, 1), "24 on GPU"),
        ({"nodes": machine(64, 8), "replicas": {"num_gpus": 4}}, (2, 2, 4, 1), "4 GPUs each"),
        ({"nodes": machine(64, 8), "replicas": {"num_cpus": 2}}, (8, 8, 1, 2), "2 threads each"),
        ({"nodes": machine(64, 8), "seconds": 0.1}, (1, 1, 1, 1), "in a worker process"),
    ],
    ids=str,
)
def test_every_gpu_of_this_machine_has_a_replica(
    given: dict[str, Any], expected: tuple[float, ...], said: str
) -> None:
    assert_chosen(choice(**given), expected, said)


@pytest.mark.parametrize(
    ("nodes", "sections", "warned"),
    [
        (
            machine(8, 2),
            {"replicas": {"num_gpus": 0}},
            r"2 GPUs \(NVIDIA H100\) of this machine",
        ),
        (machine(8, 1), {"replicas": {"num_gpus": 0}}, "unused: replicas.num_gpus is 0"),
        (machine(8, 8), {"replicas": {"max": 2}}, "6 of 8 GPUs stay unused: replicas.max is 2"),
        (
            machine(8, 3),
            {"replicas": {"num_gpus": 2}},
            "1 of 3 GPUs stay unused: replicas.num_gpus is 2",
        ),
        (
            cluster(Node(cpus=8, gpus=3), Node(cpus=8, gpus=3)),
            {"replicas": {"num_gpus": 2}},
            "2 of 6 GPUs stay unused: replicas.num_gpus is 2",
        ),
        (
            machine(8, 4),
            {"replicas": {"num_gpus": 0.7}},
            "1.2 of 4 GPUs stay unused: replicas.num_gpus is 0.7",
        ),
        (machine(8, unusable="torch is built without CUDA"), {}, "not used: torch is built withou"),
        (
            cluster(Node(cpus=8, gpus=4)),
            {"replicas": {"num_gpus": 0}},
            "4 GPUs of this cluster unused",
        ),
    ],
    ids=str,
)
def test_a_gpu_that_is_not_used_is_said(
    nodes: Nodes, sections: dict[str, Any], warned: str
) -> None:
    [warning] = choice(nodes, **sections).warnings
    assert re.search(warned, warning)


def test_a_gpu_that_is_missing_is_refused_by_its_setting() -> None:
    for nodes, said in (
        (machine(8), "this machine has no GPU"),
        (machine(8, 1), "this machine has 1"),
        (machine(8, unusable="built without CUDA"), "cannot be used (built without CUDA)"),
    ):
        found = choice(nodes, replicas={"num_gpus": 2})
        with pytest.raises(ConfigurationError, match=r"^replicas\.num_gpus: 2 GPUs per replica"):
            found.refuse_missing()
        assert said in found.missing
    choice(cluster(Node(cpus=8)), replicas={"num_gpus": 2}).refuse_missing()


@pytest.mark.parametrize(
    ("nodes", "sections", "expected", "said"),
    [
        (cluster(Node(cpus=16, gpus=4), Node(cpus=16, gpus=4)), {}, (1, 8, 1, 1), "has 8 GPUs"),
        (cluster(Node(cpus=2, gpus=2)), {}, (1, 2, 1, 0.5), "2 GPUs"),
        (cluster(Node(cpus=4), most_gpus=6), {}, (1, 6, 1, 0.3), "has 0 GPUs and may start 6"),
        (cluster(Node(cpus=64)), {}, (1, 56, 0, 1), "no GPU among 1 node"),
        (cluster(Node(cpus=2)), {}, (1, 1, 0, 1), "no GPU among 1 node"),
        (cluster(Node(cpus=16)), {"replicas": {"min": 3}}, (3, 3, 0, 4), "as replicas.min"),
        (
            cluster(Node(cpus=8, gpus=1, labels={"pool": "a"}), Node(cpus=8, gpus=4)),
            {"replicas": {"labels": {"pool": "a"}}},
            (1, 1, 1, 1),
            "has 1 GPU",
        ),
        (cluster(), {"replicas": {"num_gpus": 1}}, (1, 1, 1, 1), "asked when the run starts"),
    ],
    ids=str,
)
def test_a_cluster_is_counted(
    nodes: Nodes, sections: dict[str, Any], expected: tuple[float, ...], said: str
) -> None:
    found = choice(nodes, **sections)
    assert found.place == "cluster"
    assert numbers(found) == expected
    assert said in str(found)


@given(
    cpus=st.integers(1, 300),
    memory=st.integers(1, 2_000),
    each=st.integers(1, 300),
    units=st.integers(1, 400),
    num_cpus=st.sampled_from(["auto", 0.5, 1, 3]),
)
def test_a_machine_is_never_given_more_than_it_has(
    cpus: int, memory: int, each: int, units: int, num_cpus: Any
) -> None:
    replicas = {"num_cpus": num_cpus}
    nodes = machine(cpus, memory=memory * GIB)
    found = choice(nodes, units=units, each=each * GIB, replicas=replicas, ray={"mode": "cluster"})
    pool = found.replicas
    assert 1 <= found.at_work <= units
    assert pool.most == 1 or pool.most * each <= memory
    if num_cpus == "auto":
        assert pool.most * pool.cpus <= cpus
        assert pool.most * pool.cpus > cpus / 2
    else:
        assert pool.most == 1 or pool.most * pool.cpus <= cpus


def test_a_family_without_a_network_leaves_gpus_alone() -> None:
    nodes = machine(8, 2)
    size = UnitSize(documents=10, first=10, reason="", seconds=None)
    job = settled(config(), nodes, network=False)
    todo = [Unit(name=f"{n:024x}", start=n, stop=n + 1, documents=10) for n in range(20)]
    found = chosen(job, nodes, size, todo, whole=200, each=GIB, network=False)
    assert numbers(found) == (8, 8, 0, 1)
    assert "this family has no network" in str(found)
    assert not found.warnings


def test_settled_numbers_are_what_files_depend_on() -> None:
    two = machine(8, 2)
    assert settled(config(), two).replicas.num_gpus == 1
    assert settled(config(), machine(8)).replicas.num_gpus == 0
    assert settled(config(), machine(8)).replicas.num_cpus == "auto"
    assert settled(config(replicas={"num_gpus": 0}), two).replicas.num_gpus == 0
    same = settled(config(engine={"deterministic": True}), machine(64)).replicas
    assert (same.num_cpus, same.min) == (1, "auto")
