"""CPUs and memory within the limits of both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.machine import cgroups
from pipeline.machine.host import cpus, memory_bytes

V2 = "0::/system.slice/job.scope\n"
V1 = "9:name=systemd:/\n4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n"


def written(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        (V2, {}, None),
        (V2, {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (V2, {"sys/fs/cgroup/system.slice/job.scope/cpu.max": "250000 100000\n"}, 2.5),
        (
            V2,
            {
                "sys/fs/cgroup/system.slice/job.scope/cpu.max": "max 100000\n",
                "sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/cpu.max": "400000 100000\n",
            },
            1.5,
        ),
        ("0::/../../outside\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            V1,
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (V2, {"sys/fs/cgroup/cpu.max": "strange\n"}, None),
    ],
)
def test_the_smallest_quota_counts(tmp_path, groups, files, quota):
    assert cgroups.cpu_quota(written(tmp_path, groups, files)) == quota


def test_cpus_are_those_of_the_affinity_within_the_quota(tmp_path):
    allowed = len(os.sched_getaffinity(0))
    assert cpus(written(tmp_path / "free", V2, {})) == allowed
    half = written(tmp_path / "half", V2, {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert cpus(half) == 1
    many = written(tmp_path / "many", V2, {"sys/fs/cgroup/cpu.max": "9900000 100000\n"})
    assert cpus(many) == allowed
    assert cpus() >= 1


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        (V2, {"sys/fs/cgroup/memory.max": "max\n"}, None),
        (V2, {"sys/fs/cgroup/system.slice/memory.max": "1073741824\n"}, 2**30),
        (V1, {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (V1, {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2147483648\n"}, 2**31),
    ],
)
def test_the_smallest_limit_of_memory_counts(tmp_path, groups, files, limit):
    root = written(tmp_path, groups, files)
    assert cgroups.memory_limit(root) == limit
    assert memory_bytes(root) == (limit or memory_bytes(tmp_path / "no such folder"))
