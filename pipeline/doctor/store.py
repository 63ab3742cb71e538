"""The store that a run would write to: access, conditional writes, and its clock."""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path
from typing import Final

from pipeline.doctor.finding import Finding, note, ok, problem
from pipeline.errors import StorageError
from pipeline.storage.probe import PREFIX, probe
from pipeline.storage.store import (
    absolute,
    delete,
    is_folder,
    join,
    last_modified,
    list_files,
    read_bytes,
    remove_empty,
    write_whole,
)

#: From here on stores of Amazon's kind refuse what they are sent (RequestTimeTooSkewed).
_REFUSED_S: Final = 900.0

#: Clocks that are synchronised differ by less; listings may tell whole seconds only.
_SYNCHRONISED_S: Final = 30.0

#: Unit files are small, the staged copy of an input is as large as the input.
_LEAST_DISK: Final = 2**30


def output(path: str) -> list[Finding]:
    """Write to a run's output folder, race for names there, and remove it all again.

    Args:
        path: ``output.path`` of a job.

    Raises:
        RerankError: nothing can be written there.
    """
    folder = absolute(path)
    missing = _missing_folders(folder)
    place = join(folder, f"{PREFIX}doctor-{uuid.uuid4().hex}")
    try:
        abilities = probe(place)
        clock = _clock(place)
    finally:
        for one in (place, *missing):
            remove_empty(one)
    found = [*_space(folder), clock]
    tried = abilities.detail.removeprefix(f"{place}: ")
    if abilities.create and abilities.replace:
        return [ok("store", f"{folder}: can be written to; conditional writes: {tried}"), *found]
    return [
        problem(
            "store",
            f"{folder}: conditional writes do not hold: {tried}",
            "use another store, or set lease.unsafe_store to single_driver and make sure that there "
            "is only one driver",
        ),
        *found,
    ]


def inputs(paths: tuple[str, ...]) -> list[Finding]:
    """Whether what a job reads is there and can be read.

    Raises:
        RerankError: it is not.
    """
    files = [file for path in paths for file in list_files(path)]
    for file in files[:1]:
        read_bytes(file.path, most_bytes=1)
    size = sum(file.size for file in files) / 2**30
    return [ok("input", f"{len(files):,} files, {size:,.2f} GiB, the first one can be read")]


def _clock(place: str) -> Finding:
    name = join(place, "clock")
    before = time.time()
    try:
        write_whole(name, b"clock")
        after = time.time()
        written = last_modified(place)
    except StorageError as error:
        return note("clock", str(error), "see that this machine's clock is synchronised (NTP)")
    finally:
        delete(name)
    if written is None:
        return note(
            "clock",
            "the store does not list what was just written, so its time is not known",
            "see that this machine's clock is synchronised (NTP)",
        )
    stamp = written.timestamp()
    off = max(before - stamp, stamp - after, 0.0)
    if off <= _SYNCHRONISED_S:
        return ok("clock", "that of the store, within seconds")
    return note(
        "clock",
        f"{off:,.0f} s {'ahead of' if before > stamp else 'behind'} that of the store",
        f"synchronise it (timedatectl set-ntp true): from {_REFUSED_S / 60:.0f} minutes on stores "
        "refuse requests; leases do not compare clocks",
    )


def _space(folder: str) -> list[Finding]:
    if "://" in folder:
        return []
    there = next(one for one in (Path(folder), *Path(folder).parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free >= _LEAST_DISK:
        return []
    return [
        note("store", f"{there}: {free / 2**30:,.2f} GiB free", "free some before a large run")
    ]


def _missing_folders(folder: str) -> list[str]:
    """Folders that writing there will make, innermost first; an object store has none."""
    if "://" in folder:
        return []
    local = Path(folder)
    return [str(one) for one in (local, *local.parents) if not one.exists()]


