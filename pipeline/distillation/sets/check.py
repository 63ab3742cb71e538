"""Whether a finished training set, or an export of one, is as it was written.

Files that people and trainers read carry no seal of ours; the manifest of the set, and
``export.json`` of an export, list each with its size and sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pipeline.distillation.rules import canonical
from pipeline.distillation.sets.folder import DESCRIPTION, MANIFEST, REJECTS, SetFolder, damaged
from pipeline.errors import DamagedSetError
from pipeline.storage.store import join, list_entries, open_own

#: A file as it is listed: key, size and sha256.
Listed = dict[str, Any]

#: What exports take from a manifest.
_NEEDED: Final = ("set_id", "rules", "files")

_READERS: Final = 8
_PIECE: Final = 4 << 20
_NAMED: Final = 10


def listed(folder: SetFolder, path: str, data: bytes) -> Listed:
    """A file as it is listed, from the bytes that are written."""
    digest = hashlib.sha256(data).hexdigest()
    return {"key": folder.key(path), "size": len(data), "sha256": digest}


def list_files(folder: SetFolder, paths: Iterable[str]) -> list[Listed]:
    """Files as they are listed, by reading them.

    Raises:
        DamagedSetError: one is missing.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        files = list(pool.map(lambda path: _measured(folder, path), sorted(paths)))
    for path, file in zip(sorted(paths), files, strict=True):
        if file is None:
            raise damaged(path, "it is missing")
    return [file for file in files if file is not None]


def refuse_damage(folder: SetFolder, files: Sequence[Listed]) -> None:
    """Read files back and compare each with what is listed of it.

    Raises:
        DamagedSetError: some are missing or another content; names them.
    """
    paths = [join(folder.path, file["key"]) for file in files]
    with ThreadPoolExecutor(_READERS) as pool:
        measured = list(pool.map(lambda path: _measured(folder, path), paths))
    wrong = [
        f"  {path}: {'missing' if is_there is None else 'another content than was written'}"
        for path, wanted, is_there in zip(paths, files, measured, strict=True)
        if is_there != wanted
    ]
    if wrong:
        raise _several(folder, wrong)


def published_manifest(folder: SetFolder, *, read_back: bool) -> dict[str, Any]:
    """The manifest of a finished set in whose folder nothing is missing and nothing was added.

    Args:
        folder: of the set.
        read_back: compare the content of every file as well.

    Raises:
        DamagedSetError: something is not as it was written; names it.
    """
    manifest = folder.manifest()
    lacking = [key for key in _NEEDED if key not in manifest]
    if lacking:
        why = f"it lacks {' and '.join(lacking)}; written by another version?"
        raise damaged(folder.file(MANIFEST), why)
    if folder.read_json(folder.file(DESCRIPTION)) is None:
        raise damaged(folder.file(DESCRIPTION), "it is missing")
    files: list[Listed] = manifest["files"]
    known = {file["key"] for file in files}
    visible = {
        f"{inside}/{entry.name}"
        for inside in (*(f"canonical/{split}" for split in canonical.SPLITS), REJECTS)
        for entry in list_entries(join(folder.path, inside))
        if not entry.name.startswith((".", "_"))
    }
    strange = sorted(visible - known)
    if strange:
        lines = [f"  {join(folder.path, key)}: the set did not make it" for key in strange]
        raise _several(folder, lines, advice="Move it away: whoever reads the folder reads it too.")
    gone = sorted(key for key in known - visible if "/" in key)
    if gone:
        raise _several(folder, [f"  {join(folder.path, key)}: missing" for key in gone])
    if read_back:
        refuse_damage(folder, files)
    return manifest


def read_part(folder: SetFolder, file: Mapping[str, Any]) -> Any:
    """The rows of a part of a finished set, as a table of the canonical schema.

    Args:
        folder: of the set.
        file: the part as the manifest lists it.

    Raises:
        DamagedSetError: it is gone, or its content is another.
    """
    path = join(folder.path, file["key"])
    data = folder.read(path)
    if hashlib.sha256(data).hexdigest() != file["sha256"]:
        raise damaged(path, "its sha256 is not the one in manifest.json")
    return canonical.part_of(data, path)


def _measured(folder: SetFolder, path: str) -> Listed | None:
    file = open_own(path)
    if file is None:
        return None
    digest, size = hashlib.sha256(), 0
    with file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return {"key": folder.key(path), "size": size, "sha256": digest.hexdigest()}


def _several(folder: SetFolder, lines: list[str], *, advice: str = "") -> DamagedSetError:
    shown = lines[:_NAMED]
    if len(lines) > _NAMED:
        shown.append(f"  and {len(lines) - _NAMED} more")
    what = advice or (
        "Put back what is missing or changed from a copy, or delete the folder and run the same "
        "command again: the same runs and rules give the same files."
    )
    text = "\n".join(shown)
    return DamagedSetError(f"{folder.path}: not as it was written ({len(lines)}):\n{text}\n{what}")
