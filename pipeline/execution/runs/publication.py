"""Making a finished run visible: manifest, fence, pointer, ``_SUCCESS``.

Each step may be the last one before a crash: the next driver does them all again and comes to the
same bytes. The pointer is read before the lease is renewed for the last time and moved by
compare-and-swap after it, so a driver that was overtaken in between cannot move it.

A repair of a published run takes the same steps. Where its files come out with other bytes than
before, ``_SUCCESS`` goes first and comes back last, so that nobody takes the new files with the old
manifest, or the other way round, for a published run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipeline import failpoints
from pipeline.cluster.job_server import JobEnd
from pipeline.errors import DamagedRunError, RunFailedError
from pipeline.execution.runs import records
from pipeline.execution.runs.lease import Lease, NoLease
from pipeline.execution.runs.run_files import replace_damaged
from pipeline.execution.runs.run_folder import MANIFEST, SUCCESS, RunFolder
from pipeline.storage.store import (
    create_if_absent,
    delete,
    read_versioned,
    replace_if_unchanged,
    write_whole,
)


def publish(
    folder: RunFolder, manifest: dict[str, Any], lease: Lease | NoLease, *, repair: bool = False
) -> None:
    """Take every step from the manifest to ``_SUCCESS``.

    Args:
        folder: the run.
        manifest: of the files that are there.
        lease: the right to drive the run.
        repair: write anew what is there already and differs.

    Raises:
        FencedError: another driver has taken over.
        DamagedRunError: the manifest of an earlier session disagrees with the units, or a file
            that this would replace is damaged.
    """
    cas = not isinstance(lease, NoLease)
    republished = repair and folder.finished()
    data = records.to_bytes(records.Manifest, manifest)
    path = folder.file(MANIFEST)
    if not create_if_absent(path, data):
        stored = read_versioned(path, most_bytes=records.Manifest.most_bytes)
        if stored is None or stored[0] != data:
            lease.fence()
            if not repair:
                raise records.damaged(path, "it is at odds with the files of the units")
            delete(folder.file(SUCCESS))
            replace_damaged(path, data, cas=cas)
    failpoints.reached("manifest.written")
    run_id, digest = manifest["run_id"], hashlib.sha256(data).hexdigest()
    pointer = {
        "run_id": run_id,
        "manifest": f"{run_id}/{MANIFEST}",
        "manifest_sha256": digest,
        "epoch": lease.epoch,
    }
    _move_pointer(folder.latest, pointer, lease, repair=repair, stay=republished)
    failpoints.reached("pointer.moved")
    success = records.to_bytes(records.Success, {"run_id": run_id, "manifest_sha256": digest})
    if repair:
        replace_damaged(folder.file(SUCCESS), success, cas=cas)
    else:
        create_if_absent(folder.file(SUCCESS), success)
    failpoints.reached("success.written")


def refuse_damaged_pointer(folder: RunFolder) -> None:
    """Say so before units are scored, rather than when they are published.

    Raises:
        DamagedRunError: ``LATEST.json`` is not what a run wrote.
    """
    records.read(folder.latest, records.Pointer)


def check_published(end: JobEnd) -> RunFolder:
    """The published run of a job that says it succeeded.

    Raises:
        RunFailedError: nothing published is seen from here.
    """
    if end.folder is None:
        raise RunFailedError("the job ended well but never named a run: it did not rerank anything")
    folder = RunFolder(end.folder)
    if not folder.finished() or folder.manifest().get("run_id") != Path(end.folder).name:
        raise RunFailedError(
            f"the job ended well, but from here {end.folder} holds no published run (manifest.json "
            "and _SUCCESS). Where this machine cannot see the output, pass --no-verify"
        )
    return folder


def _move_pointer(
    path: str, pointer: dict[str, Any], lease: Lease | NoLease, *, repair: bool, stay: bool
) -> None:
    """Make the pointer name this run.

    Args:
        path: of the pointer.
        pointer: what it is to hold.
        lease: fenced between reading and moving it.
        repair: replace a damaged one.
        stay: leave one that names another run, which was published later.
    """
    data = records.to_bytes(records.Pointer, pointer)
    while True:
        stored = read_versioned(path, most_bytes=records.Pointer.most_bytes)
        before: dict[str, Any] | None = None
        if stored is not None:
            try:
                before = records.parse(path, stored[0], records.Pointer)
            except DamagedRunError:
                if not repair:
                    raise
        lease.fence()
        if stay and before is not None and _says_the_same(before, pointer):
            return
        if isinstance(lease, NoLease):
            write_whole(path, data)
            return
        if stored is None:
            if create_if_absent(path, data):
                return
        elif stored[0] == data or replace_if_unchanged(path, data, stored[1]) is not None:
            return


def _says_the_same(before: dict[str, Any], pointer: dict[str, Any]) -> bool:
    """Whether a pointer names another run, or this one and its manifest."""
    names = ("manifest", "manifest_sha256")
    return before["run_id"] != pointer["run_id"] or all(before[n] == pointer[n] for n in names)
