"""Limits of the control groups that this process is in: what a container or a batch system grants.

A process is bound by the limits of its own group and of all groups above it, so the smallest one
counts. Both versions are read (https://docs.kernel.org/admin-guide/cgroup-v2.html and
https://docs.kernel.org/admin-guide/cgroup-v1/): on a machine that has both, each controller
belongs to one of them, and the files of the other do not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Below this folder, ``proc`` and ``sys`` are those of the running kernel.
ROOT: Final = Path("/")

#: Where no limit is set, version 1 shows the largest multiple of a page in a signed 64-bit number.
_NO_LIMIT: Final = 2**62


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPUs' worth of time that this process may use, e.g. 2.5; None: no limit is set."""
    found = [_share(text) for text in _files("cpu.max", "", root)]
    for quota, period in zip(
        _files("cpu.cfs_quota_us", "cpu", root),
        _files("cpu.cfs_period_us", "cpu", root),
        strict=False,
    ):
        found.append(_share(f"{quota} {period}"))
    return min((share for share in found if share is not None), default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Bytes that this process and its children may use together; None: no limit is set."""
    texts = [*_files("memory.max", "", root), *_files("memory.limit_in_bytes", "memory", root)]
    limits = [int(text) for text in texts if text.isdecimal()]
    return min((limit for limit in limits if 0 < limit < _NO_LIMIT), default=None)


def _share(text: str) -> float | None:
    """CPUs of ``QUOTA PERIOD`` in microseconds; None for ``max`` and -1, which are no limit."""
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or not int(words[1]):
        return None
    return int(words[0]) / int(words[1]) or None


def _files(name: str, controller: str, root: Path) -> Iterator[str]:
    """The content of a file of our group and of each group above it, innermost first.

    Args:
        name: of the file.
        controller: of version 1; empty for version 2.
        root: holds ``proc`` and ``sys``.
    """
    mounted = root / "sys/fs/cgroup" / controller
    inside = _group(controller, root)
    for folder in (mounted / inside, *(mounted / inside).parents):
        # A container may see the name that its group has outside, but only its own group's files.
        if folder.is_relative_to(mounted):
            try:
                yield (folder / name).read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError):
                continue


def _group(controller: str, root: Path) -> str:
    """The name of our group, without the slash at its beginning."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path.strip("/") if ".." not in path else ""
    return ""
