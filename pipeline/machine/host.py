"""CPUs and memory that this process may use, which a container or batch system may limit."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.machine import cgroups


def cpus(root: Path = cgroups.ROOT) -> int:
    """Logical CPUs that this process may keep busy: those of its affinity, within its quota.

    A quota of 2.5 CPUs counts as 2: a third thread would be stopped for half of its time, and the
    others would wait for it.

    Args:
        root: holds ``proc`` and ``sys``.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = cgroups.cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def memory_bytes(root: Path = cgroups.ROOT) -> int:
    """Bytes of memory that this process and its children may use: RAM, within the groups' limit.

    Args:
        root: holds ``proc`` and ``sys``.
    """
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroups.memory_limit(root)
    return installed if limit is None else min(installed, limit)
