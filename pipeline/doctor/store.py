"""The store that a run would write to: access, conditional writes, and its clock."""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from pipeline.doctor.finding import Finding, note, ok, problem
from pipeline.errors import RerankError, StorageError
from pipeline.plurals import counted
from pipeline.storage.probe import PREFIX, probe
from pipeline.storage.store import (
    absolute,
    delete,
    join,
    last_modified,
    list_files,
    open_input,
    remove_empty,
    write_whole,
)

_CLOCK: Final = "clock"

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
        clock = _clock(place)
        abilities = probe(place)
    except StorageError as error:
        said = _of_folder(str(error), place, folder).partition("; when the store")[0]
        return [
            problem(
                "store",
                said,
                "see that it answers from here: its endpoint (AWS_ENDPOINT_URL) and region, DNS, a "
                "proxy or firewall between; of a disk, that it is whole and has room",
            )
        ]
    except RerankError as error:
        error.args = (_of_folder(str(error), place, folder),)
        raise
    finally:
        with suppress(RerankError):  # where nothing can be removed, nothing could be made
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
            "use another store, or set lease.unsafe_store to single_driver and make sure that "
            "there is only one driver",
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
        with open_input(file.path) as opened:
            opened.read(1)
    size = sum(file.size for file in files) / 2**30
    return [
        ok("input", f"{counted(len(files), 'file')}, {size:,.2f} GiB, the first one can be read")
    ]


def _clock(place: str) -> Finding:
    name = join(place, _CLOCK)
    before = time.time()
    write_whole(name, b"clock")
    after = time.time()
    try:
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


def _of_folder(text: str, place: str, folder: str) -> str:
    """A message about files of the examination, as one about the folder."""
    return text.replace(join(place, _CLOCK), folder).replace(place, folder)


def _space(folder: str) -> list[Finding]:
    if "://" in folder:
        return []
    there = next(one for one in (Path(folder), *Path(folder).parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free >= _LEAST_DISK:
        return []
    return [note("store", f"{there}: {free / 2**30:,.2f} GiB free", "free some before a large run")]


def _missing_folders(folder: str) -> list[str]:
    """Folders that writing there will make, innermost first; an object store has none."""
    if "://" in folder:
        return []
    local = Path(folder)
    return [str(one) for one in (local, *local.parents) if not one.exists()]
