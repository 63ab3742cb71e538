"""Which files of a checkpoint folder matter, and the hashes that stand for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from pipeline.errors import ModelError
from pipeline.storage.store import sha256_file

#: Configuration, tokenizers, templates and the modules of sentence-transformers, beside weights.
#: What a family reads besides joins them when a run is planned.
_DESCRIBING: Final = (
    "*.json",
    "*.jinja",
    "*.model",
    "vocab.txt",
    "merges.txt",
    "artifact.metadata",
)
_IN_FOLDERS: Final = ("*.json", "*.jinja")
#: Modules of sentence-transformers with weights of their own, such as ``2_Dense``.
_IN_MODULES: Final = "[0-9]*_*/*.safetensors"

#: Files hashed at once; one file is hashed by one thread, at 1 to 2 GB/s where the CPU has
#: instructions for it.
_THREADS: Final = 4


def describes(name: str) -> bool:
    """Whether a file, by its name relative to the folder, matters and is no weights' file."""
    *folders, last = name.split("/")
    if len(folders) > 1 or any(part.startswith(".") for part in (*folders, last)):
        return False
    if not folders:
        return _matches(last, _DESCRIBING)
    return _matches(last, _IN_FOLDERS) or fnmatchcase(name, _IN_MODULES)


def may_matter(name: str) -> bool:
    """Whether a file is worth fetching: one that describes, or weights in the folder itself."""
    return describes(name) or ("/" not in name and name.endswith(".safetensors"))


def describing_files(folder: Path) -> list[str]:
    """Names of the files of a folder that :func:`describes` says yes to, sorted."""
    found = (*folder.glob("*"), *folder.glob("*/*"))
    names = (path.relative_to(folder).as_posix() for path in found if path.is_file())
    return sorted(name for name in names if describes(name))


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file.

    Raises:
        ModelError: it is gone or cannot be read.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def hash_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hex sha256 of files by their names relative to ``folder``, in sorted order.

    Raises:
        ModelError: one of them is gone or cannot be read.
    """
    ordered = sorted(set(names))
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda name: sha256_of(folder / name), ordered)
        return dict(zip(ordered, found, strict=True))


def digest_of(files: Mapping[str, str]) -> str:
    """One digest for names and hashes."""
    lines = "".join(f"{name}:{files[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
