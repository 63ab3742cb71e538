"""Which files of a checkpoint folder matter, and the hashes that stand for them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

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

#: A shard's name: no folder, nothing hidden, nothing that a shell or a terminal reads as more.
_SHARD: Final = re.compile(r"(?!\.)[^/\\\0-\x1f]+\.safetensors")

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


def read_small(path: Path) -> bytes | None:
    """Content of a small file; None where it is absent.

    Raises:
        ModelError: it is no regular file, or cannot be read.
    """
    try:
        if not path.is_file() and path.exists():  # opening a pipe waits for somebody to write
            raise ModelError(f"{path}: is no regular file; fetch the checkpoint again")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def shards(index: Mapping[str, Any], where: Path) -> list[str]:
    """Names of the safetensors files that an index names, sorted.

    Args:
        index: content of ``model.safetensors.index.json``.
        where: that file, for messages.

    Raises:
        ModelError: there are none, or one of them is no file of the folder itself: nothing but the
            folder is listed, hashed, fetched and copied as the checkpoint.
    """
    tensors = index.get("weight_map")
    if not isinstance(tensors, Mapping) or not tensors:
        raise ModelError(
            f"{where}: 'weight_map' names no files; expected a table from tensors to "
            "*.safetensors files. Fetch the checkpoint again"
        )
    for tensor, name in tensors.items():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise ModelError(
                f"{where}: tensor '{tensor}' is in {name!r}; expected the name of a *.safetensors "
                "file beside the index"
            )
    return sorted(set(tensors.values()))


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file.

    Raises:
        ModelError: it is gone or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is no regular file; fetch the checkpoint again")
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
