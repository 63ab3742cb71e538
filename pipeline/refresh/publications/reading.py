"""Publications looked up: the current one, all of them, and the run that one names."""

from __future__ import annotations

import hashlib
from datetime import date

from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.runs import records
from pipeline.execution.runs.listing import wrong_sizes
from pipeline.execution.runs.run_folder import MANIFEST, SUCCESS, RunFolder
from pipeline.refresh.publications.record import (
    FOLDER,
    Publication,
    PublicationRecord,
    path_of,
    sequence_of,
)
from pipeline.storage.store import absolute, join, list_entries, read_versioned


def sequences(root: str) -> list[int]:
    """Sequences of all publications that are there, in ascending order."""
    entries = list_entries(join(root_of(root), FOLDER))
    found = [sequence_of(entry.name) for entry in entries]  # a link is refused when it is read
    return sorted(number for number in found if number is not None)


def current(root: str) -> Publication | None:
    """The publication that counts; None before the first.

    Args:
        root: ``output.path``, the folder that the runs lie in.

    Raises:
        DamagedRunError: its file is damaged; no older one is taken in its place.
    """
    while numbers := sequences(root):
        found = _read(root_of(root), numbers[-1])
        if found is not None:  # else it was retired meanwhile, so there is a newer one
            return found
    return None


def history(root: str) -> list[Publication]:
    """Every publication that is still there, the current one first.

    Raises:
        DamagedRunError: the file of one is damaged.
    """
    found = [_read(root_of(root), number) for number in reversed(sequences(root))]
    return [publication for publication in found if publication is not None]


def publication(root: str, sequence: int) -> Publication:
    """One publication.

    Raises:
        NotFoundError: there is none of that sequence; says which there are.
        DamagedRunError: its file is damaged.
    """
    found = _read(root_of(root), sequence)
    if found is None:
        numbers = sequences(root)
        there = f"there are {numbers[0]} to {numbers[-1]}" if numbers else "there is none"
        raise NotFoundError(f"{path_of(root_of(root), sequence)}: no such publication; {there}")
    return found


def current_before(root: str, night: date) -> Publication | None:
    """The last publication of an earlier night; None where there is none.

    What a night builds on must not be what it has published itself, or else doing the same night
    again would not give the same run.

    Raises:
        DamagedRunError: the file of one that is looked at is damaged.
    """
    for number in reversed(sequences(root)):
        found = _read(root_of(root), number)
        if found is not None and found.date < night:
            return found
    return None


def run_of(root: str, named: Publication) -> RunFolder:
    """The run that a publication names, as it was when it was published.

    Its manifest and ``_SUCCESS`` are compared with the publication, and its files with the
    manifest by size. Their content is compared by whoever reads them
    (:func:`pipeline.execution.runs.run_files.read_listed`), or by ``rerank status --check``.

    Raises:
        DamagedRunError: the run is gone, is not whole or was changed; names what is wrong.
    """
    folder = RunFolder(join(root_of(root), named.run_id))
    if refusal := why_incomplete(folder, named.manifest_sha256):
        raise DamagedRunError(
            f"{path_of(root_of(root), named.sequence)}: names run {named.run_id}, which is not "
            f"what was published: {refusal}. Put it back from a copy, or go to another publication "
            "with `rerank rollback --to`; `rerank latest --history` lists them"
        )
    return folder


def why_incomplete(folder: RunFolder, manifest_sha256: str | None = None) -> str:
    """Why a run cannot be published, or read as it was published; empty where it can.

    Args:
        folder: the run.
        manifest_sha256: what its manifest must be; None: what ``_SUCCESS`` says.
    """
    digest = manifest_digest(folder)
    if digest is None:
        return f"{folder.file(MANIFEST)} is missing"
    run_id = records.run_id_of(folder.path)
    success = records.read(folder.file(SUCCESS), records.Success, run_id=run_id)
    if success is None:
        return f"{folder.file(SUCCESS)} is missing: the run is not finished"
    if digest != success["manifest_sha256"]:
        return f"{folder.file(MANIFEST)} is another one than _SUCCESS says"
    if manifest_sha256 is not None and digest != manifest_sha256:
        return (
            f"the sha256 of {folder.file(MANIFEST)} is {digest[:12]}…, and not "
            f"{manifest_sha256[:12]}…: the run was made anew since"
        )
    units = folder.manifest()["units"]
    sizes: dict[str, int | None] = {f["key"]: f["size"] for unit in units for f in unit["files"]}
    wrong = wrong_sizes(folder, sizes)
    return f"{wrong[0]} ({len(wrong)} in all)" if wrong else ""


def manifest_digest(folder: RunFolder) -> str | None:
    """The sha256 of a run's manifest as it is now; None where there is none."""
    path = folder.file(MANIFEST)
    found = read_versioned(path, most_bytes=records.Manifest.most_bytes)
    return None if found is None else hashlib.sha256(found[0]).hexdigest()


def root_of(path: str) -> str:
    """An output folder as it is named everywhere here: absolute, without a slash at its end."""
    return absolute(path).rstrip("/") or "/"


def stored(root: str, sequence: int) -> bytes | None:
    """The file of a publication as it is, damaged or not; None where there is none."""
    found = read_versioned(path_of(root, sequence), most_bytes=PublicationRecord.most_bytes)
    return None if found is None else found[0]


def _read(root: str, sequence: int) -> Publication | None:
    found = stored(root, sequence)
    return None if found is None else Publication.from_bytes(path_of(root, sequence), found)
