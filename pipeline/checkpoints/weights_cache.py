"""Copies of remote checkpoints on this machine, named by their content.

::

    <cache>/weights/<digest>/            files of one checkpoint; complete, or not there
    <cache>/weights/index/<key>.json     what a listing of an address stood for
    <cache>/weights/<name>.lock          held by the process that fills an entry
    <cache>/weights/<name>.partial-…/    being filled, or left by a process that died

A listing with versions (S3, GCS) says what lies at an address without it being fetched; new
weights at the same address have another listing. From any other store the files are fetched each
time that a run is planned. A worker is told the content and asks the address only where it has no
copy; what it fetches must be that content.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints.checkpoint_files import digest_of, hash_files, may_matter
from pipeline.checkpoints.safetensors_file import other_content
from pipeline.errors import InputContractError, ModelError, NotFoundError
from pipeline.storage.home import home_path
from pipeline.storage.store import FileIdentity, fetch_files, files_below


@dataclass(frozen=True)
class Cached:
    """A copy.

    Attributes:
        folder: where it is.
        files: hex sha256 of every file by its name; verified by the call that gave it, unless they
            were given to that call.
    """

    folder: Path
    files: Mapping[str, str]


def cache_root() -> Path:
    """Where copies are kept: ``RERANK_CACHE``, or a folder of the user's cache.

    Raises:
        NotFoundError: there is neither.
    """
    root = os.environ.get("RERANK_CACHE")
    if root:
        return Path(root)
    return home_path(".cache", "rerank-pipeline", instead="RERANK_CACHE to one for copies")


def newest(uri: str) -> Cached:
    """A verified copy of what lies at an address now; fetched where there is none.

    Raises:
        NotFoundError: nothing is there, or no copy can be kept.
        ModelError: it is being overwritten.
    """
    _refuse_read_only(_root())
    listed = _listed(uri)
    strong = all(file.strong for file in listed)
    key = _key(uri, listed)
    with _locked(key):
        known = _known(key) if strong else None
        if known is not None:
            folder = _entry(digest_of(known))
            if folder.is_dir() and _verified(folder, known):
                return Cached(folder, known)
        partial = _fetched(uri, listed, key)
        if _listed(uri) != listed:
            shutil.rmtree(partial)
            raise _written_to(uri)
        files = hash_files(partial, _below(partial))
        folder = _entry(digest_of(files))
        _put(partial, folder, files)
        if strong:
            _remember(key, files)
    return Cached(folder, files)


def of_content(uri: str, files: Mapping[str, str]) -> Cached:
    """A copy of the given content, fetched where there is none; to be verified where it is read.

    Raises:
        NotFoundError: nothing is at the address any more.
        ModelError: other content is.
    """
    digest = digest_of(files)
    folder = _entry(digest)
    if folder.is_dir():
        return Cached(folder, files)
    with _locked(digest):
        if not folder.is_dir():  # another process of this host may have been first
            listed = [file for file in _listed(uri) if _name(uri, file) in files]
            partial = _fetched(uri, listed, digest)
            found = hash_files(partial, _below(partial))
            for name in sorted(files):
                if found.get(name) != files[name]:
                    shutil.rmtree(partial)
                    raise other_content(f"{uri}/{name}", files[name], found.get(name, "absent"))
            _put(partial, folder, files)
    return Cached(folder, files)


def set_aside(folder: Path) -> None:
    """Take a damaged copy away, so that it is fetched again."""
    damaged = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex}")
    try:
        folder.rename(damaged)
    except OSError:
        return  # somebody else was first
    shutil.rmtree(damaged, ignore_errors=True)


def _root() -> Path:
    return cache_root() / "weights"


def _entry(digest: str) -> Path:
    return _root() / digest


def _listed(uri: str) -> list[FileIdentity]:
    below = files_below(uri)
    found = [file for file in below if may_matter(_name(uri, file))]
    if not any(file.path.endswith(".safetensors") for file in found):
        names = ", ".join(sorted(_name(uri, file) for file in below)[:20]) or "none"
        raise NotFoundError(
            f"model.weights: '{uri}' has no *.safetensors file, and nothing else is read for "
            f"weights; expected a checkpoint folder, files found: {names}"
        )
    return sorted(found, key=lambda file: file.path)


def _name(uri: str, file: FileIdentity) -> str:
    # A store may spell the address in another way (s3a://, memory:///), so no length is cut off.
    folder, path = (place.partition("://")[2].strip("/") for place in (uri, file.path))
    return path.removeprefix(folder).strip("/")


def _key(uri: str, listed: Sequence[FileIdentity]) -> str:
    described = json.dumps([uri.rstrip("/"), *(file.described() for file in listed)])
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _known(key: str) -> dict[str, str] | None:
    try:
        found = json.loads((_root() / "index" / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    valid = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if valid else None


def _remember(key: str, files: Mapping[str, str]) -> None:
    path = _root() / "index" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{key}.partial-{uuid.uuid4().hex}")
    partial.write_text(json.dumps(files), encoding="utf-8")
    partial.replace(path)


def _verified(folder: Path, files: Mapping[str, str]) -> bool:
    try:
        return _below(folder) == sorted(files) and hash_files(folder, files) == dict(files)
    except ModelError:
        return False


def _below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _fetched(uri: str, listed: Sequence[FileIdentity], name: str) -> Path:
    """A folder of its own with the files; what dead processes left of the same is removed."""
    for left in _root().glob(f"{name}.partial-*"):
        shutil.rmtree(left, ignore_errors=True)
    partial = _root() / f"{name}.partial-{uuid.uuid4().hex}"
    partial.mkdir(parents=True)
    try:
        fetch_files([(file, partial / _name(uri, file)) for file in listed])
    except InputContractError:
        raise _written_to(uri) from None
    return partial


def _written_to(uri: str) -> ModelError:
    return ModelError(
        f"{uri}: files were written to while they were fetched; wait until the checkpoint is "
        "complete there, and run again"
    )


def _put(partial: Path, folder: Path, files: Mapping[str, str]) -> None:
    """Give a verified folder its name, unless it is there and whole: others may be reading it."""
    if folder.is_dir():
        if _verified(folder, files):
            shutil.rmtree(partial)
            return
        set_aside(folder)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)  # another address with the same content was first


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One process at a time; the kernel drops the lock of a process that dies."""
    _refuse_read_only(_root())
    with (_root() / f"{name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _refuse_read_only(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise NotFoundError(
            f"{folder}: copies of remote weights are kept there, and it cannot be written; set "
            "RERANK_CACHE to a folder of yours"
        )
