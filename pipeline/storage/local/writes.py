"""How a file is written to a local disk: under a temporary name first, and under a lock.

What is written is on the disk before it has its name, and a lock dies with its holder. A killed
process leaves temporary files behind, which are known by their names.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pipeline.errors import StorageError
from pipeline.storage.local.faults import explained
from pipeline.storage.local.files import made_folder, mode_in, opened_folder
from pipeline.storage.policy import retry_policy

_TEMPORARY: Final = ".tmp"
_TEMPORARY_NAME: Final = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_LOCK: Final = ".lock"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_LOCK_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


def is_ours(name: str) -> bool:
    """Whether a name is that of a lock or a temporary file."""
    return name.startswith(".") and (name.endswith(_LOCK) or is_temporary(name))


def is_temporary(name: str) -> bool:
    """Whether a name is one that :func:`written` gives."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


@contextmanager
def written(path: str, pieces: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """``pieces`` safe on the disk under a temporary name; folder fsync and clean-up afterwards.

    Yields:
        The temporary name, and a descriptor of the folder that it is in.
    """
    with explained(path):
        made_folder(Path(path).parent)
        with opened_folder(Path(path).parent) as folder:
            temporary = _beside(path, f".{uuid.uuid4().hex}{_TEMPORARY}")
            try:
                new = os.open(temporary, _NEW, mode_in(folder), dir_fd=folder)
                with os.fdopen(new, "wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary, folder
                os.fsync(folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock of ``path``. The kernel drops it when its holder dies, however it dies.

    Raises:
        StorageError: somebody holds it for longer than a transfer may stall.
    """
    name = _beside(path, _LOCK)
    lock = Path(path).with_name(name)
    patience = retry_policy().stall_s
    end = time.monotonic() + patience
    with explained(path), opened_folder(Path(path).parent) as folder:
        while (descriptor := _take(name, folder)) is None:
            if time.monotonic() > end:
                raise StorageError(
                    f"{path}: another process has held {lock} for {patience:g} s; is it stopped? "
                    "Continue it or kill it (`fuser` names it)"
                )
            time.sleep(0.005)
        try:
            yield
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(descriptor)


def _take(lock: str, folder: int) -> int | None:
    """A descriptor that holds the lock, or None where it cannot be had now.

    The last holder removes the file; a lock on a file that is gone from its name is worth nothing.
    """
    descriptor = os.open(lock, _LOCK_FILE, mode_in(folder), dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(lock, dir_fd=folder).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _beside(path: str, suffix: str) -> str:
    return f".{Path(path).name}{suffix}"
