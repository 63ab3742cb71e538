"""The machine itself: Python, CPUs and memory, disks, the home folder."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from pipeline import machine
from pipeline.checkpoints.weights_cache import cache_root
from pipeline.cluster.session_folder import temporary_base
from pipeline.doctor.finding import Finding, note, ok, problem
from pipeline.errors import RerankError
from pipeline.plurals import counted

#: Versions of Python that are tested, as in pyproject.toml.
_PYTHONS: Final = ((3, 11), (3, 13))

#: A replica of a small model, the driver and Ray's own processes, with room for the object store.
_LEAST_MEMORY: Final = 4 * 2**30

#: Ray's logs and what a session keeps beside them.
_LEAST_DISK: Final = 2 * 2**30

#: Ray puts no object on a disk that is fuller than this (``local_fs_capacity_threshold``).
_FULL: Final = 0.95

#: What a copy of a large model takes.
_SPACE_FOR_WEIGHTS: Final = 20 * 2**30

_SHARED: Final = Path("/dev/shm")


def python() -> list[Finding]:
    """The interpreter, and whether this package and what it needs are installed in it."""
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    lowest, highest = (".".join(map(str, one)) for one in _PYTHONS)
    where = f"{here}, {sys.prefix}"
    if not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return [
            problem(
                "python", where, f"install into Python {lowest} to {highest}; see docs/install.md"
            )
        ]
    if platform.system() != "Linux":
        return [note("python", where, "take Linux: no other system is tested")]
    missing = _missing()
    if missing:
        return [
            problem(
                "python",
                f"{where}; not installed: {', '.join(missing)}",
                "install the package with its dependencies: pip install -c constraints.txt "
                "rerank-pipeline",
            )
        ]
    return [ok("python", where)]


def resources() -> list[Finding]:
    """CPUs and memory that this process may use."""
    memory = machine.memory_bytes()
    found = f"{counted(machine.cpus(), 'CPU')} and {_gib(memory)} of memory for this process"
    if memory < _LEAST_MEMORY:
        return [
            note(
                "machine",
                found,
                f"give it {_gib(_LEAST_MEMORY)} or more, or set ray.mode to in_process, which "
                "needs no memory for Ray",
            )
        ]
    return [ok("machine", found)]


def disks() -> list[Finding]:
    """The folder for temporary files, shared memory, and where copies of weights are kept."""
    return [_temporary(), *_shared_memory(), _weights()]


def _temporary() -> Finding:
    base = os.environ.get("RAY_TMPDIR") or temporary_base()
    usage = shutil.disk_usage(base)
    found = f"{base}: {_gib(usage.free)} free of {_gib(usage.total)}"
    full = usage.total > 0 and usage.free < (1 - _FULL) * usage.total
    if usage.free < _LEAST_DISK or full:
        return problem(
            "disk",
            found,
            f"free some, or set TMPDIR to a folder on a disk with {_gib(_LEAST_DISK)} or more: Ray "
            f"keeps its files there, and no objects on a disk that is {_FULL:.0%} full",
        )
    return ok("disk", found)


def _shared_memory() -> list[Finding]:
    """Ray's object store lies in shared memory, of which containers have 64 MiB unless told."""
    if not _SHARED.is_dir():
        return []
    free = shutil.disk_usage(_SHARED).free
    if free >= 2**30:
        return [ok("disk", f"{_SHARED}: {_gib(free)} for Ray's objects")]
    return [
        note(
            "disk",
            f"{_SHARED}: {_gib(free)} for Ray's objects, which it puts on a disk then",
            "start the container with --shm-size=2g or more; in Kubernetes mount an emptyDir with "
            "medium: Memory there",
        )
    ]


def _weights() -> Finding:
    """Where copies of remote weights go; local ones are read where they lie."""
    try:
        root = cache_root()
    except RerankError as error:
        return note("disk", str(error), "set RERANK_CACHE to a folder of yours, or HOME")
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    found = f"{root}: {_gib(free)} free for copies of remote weights"
    if not can_write(there):
        return note(
            "disk",
            f"{root}: cannot be written to, and copies of remote weights would be kept there",
            "set RERANK_CACHE to a folder of yours on a disk with room for the model",
        )
    if free < _SPACE_FOR_WEIGHTS:
        return note(
            "disk",
            found,
            "set RERANK_CACHE to a folder on a larger disk where a model has more than that",
        )
    return ok("disk", found)


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which only making one tells where root asks."""
    name = folder / f".rerank-doctor-{os.getpid()}"
    try:
        name.touch(exist_ok=False)
        name.unlink()
    except OSError:
        return False
    return True


def _missing() -> list[str]:
    """What this package needs and the environment has not."""
    try:
        stated = requires("rerank-pipeline") or []
    except PackageNotFoundError:  # run from a checkout that is only on the path
        return []
    from packaging.requirements import Requirement

    missing = []
    for text in stated:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            missing.append(text)
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            missing.append(f"{text} (there is {found})")
    return missing


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
