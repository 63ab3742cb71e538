"""Local disks: temporary file, fsync, then one step that makes the whole content visible.

``create`` ends in a hard link, which refuses a name that exists; a rename would overwrite it
silently. ``replace`` compares and renames under a lock that dies with its holder.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import AccessDeniedError, ConfigurationError, StorageError
from pipeline.storage.backend import Backend
from pipeline.storage.content import changed, hash_whole, is_whole_hash
from pipeline.storage.files import FileIdentity, Temporary
from pipeline.storage.policy import current_policy

_TEMPORARY, _LOCK = ".tmp", ".lock"
_SECOND_NS = 1_000_000_000

#: Longer than any tick of Linux's coarse clock, by which it stamps files (10 ms at CONFIG_HZ=100).
_TICK_NS = 20_000_000

#: File systems that stamp whole seconds, or every second one (FAT).
_COARSE_TICK_NS = 2 * _SECOND_NS

_TEMPORARY_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class LocalDisk(Backend):
    """Files of this machine, or of a file system that is mounted on it."""

    def __init__(self) -> None:
        #: Content and token of files that were read whole in this process.
        self._verified: set[tuple[str, str]] = set()

    def stat(self, path: str) -> FileIdentity | None:
        """Size, times and inode."""
        with _explained(path):
            try:
                found = Path(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if stat.S_ISDIR(found.st_mode) else _identity(path, found)

    def settled(self, path: str) -> FileIdentity | None:
        """Waits for the clock of the file system to tick, where the file is that young."""
        with _explained(path):
            try:
                found = wait_until_settled(lambda: Path(path).stat())
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if stat.S_ISDIR(found.st_mode) else _identity(path, found)

    def is_folder(self, path: str) -> bool:
        """Whether it is a directory."""
        return Path(path).is_dir()

    def find(self, folder: str) -> list[FileIdentity]:
        """Walks the folder; what vanishes meanwhile is left out."""
        with _explained(folder):
            return [_identity(entry.path, entry.stat()) for entry in _walk(folder)]

    def glob(self, pattern: str) -> list[FileIdentity]:
        """Hidden names are matched only by patterns that begin with a dot."""
        with _explained(pattern):
            names = glob.iglob(pattern, recursive=True)  # noqa: PTH207 - the pattern is absolute
            found = (Path(name) for name in names)
            return [_identity(str(path), path.stat()) for path in found if path.is_file()]

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Locks and temporary files of ours are not among them."""
        files: list[str] = []
        folders: list[str] = []
        with _explained(folder):
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        (folders if entry.is_dir() else files).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                pass
        return [name for name in files if not _is_ours(name)], folders

    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """An open file stays the same one, whatever happens to its name.

        Where times or inode are other ones than expected, the content is hashed and must be the
        expected one. What is written into the open file is not noticed here: its token shows it.
        """
        with _explained(path):
            try:
                file = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
            if expected is not None:
                try:
                    self._refuse_other_content(file, expected)
                except BaseException:
                    file.close()
                    raise
        return file

    def _refuse_other_content(self, file: BinaryIO, expected: FileIdentity) -> None:
        path, number = expected.path, file.fileno()
        now = _identity(path, os.fstat(number))
        if now.size == expected.size and now.token == expected.token:
            return
        if now.size != expected.size:
            raise changed(path, f"size {expected.size} -> {now.size}")
        if not is_whole_hash(expected.version):
            raise changed(
                path,
                f"times or inode {expected.token} -> {now.token}; it is too large for a look at "
                "its whole content, see input.hash_mib",
            )
        if (expected.version, now.token) in self._verified:
            return
        now = _identity(path, wait_until_settled(lambda: os.fstat(number)))
        found = hash_whole(file)
        if found != expected.version or _identity(path, os.fstat(number)) != now:
            raise changed(path, f"version {expected.version} -> {found}")
        self._verified.add((expected.version, now.token))
        file.seek(0)

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The version is the sha256 of the content."""
        file = self.open(path, None)
        if file is None:
            return None
        with file:
            data = file.read()
        return data, _digest(data)

    def write(self, path: str, data: bytes) -> None:
        """Temporary file, fsync, rename, folder fsync."""
        with _written(path, data) as temporary:
            temporary.replace(path)

    def create(self, path: str, data: bytes) -> bool:
        """Temporary file, fsync, hard link, folder fsync."""
        if Path(path).exists():
            return False
        with _written(path, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise ConfigurationError(
                        f"{path}: this file system has no hard links, with which the first writer "
                        "of a file wins; put the output on another one, or on an object store"
                    ) from error
                raise
        return True

    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """Compare and :meth:`write`, under a lock."""
        with _locked(path):
            current = self.read(path)
            if current is None or current[1] != version:
                return None
            self.write(path, data)
        return _digest(data)

    def delete(self, path: str) -> None:
        """Unlink."""
        with _explained(path):
            Path(path).unlink(missing_ok=True)

    def temporary(self, folder: str) -> list[Temporary]:
        """Files with the names that :func:`_written` gives."""
        with _explained(folder):
            return [
                Temporary(
                    path=entry.path,
                    size=entry.stat().st_size,
                    modified=datetime.fromtimestamp(entry.stat().st_mtime, UTC),
                )
                for entry in _walk(folder)
                if _TEMPORARY_NAME.fullmatch(entry.name)
            ]

    def fetch(self, file: FileIdentity, target: Path) -> None:
        """A plain copy."""
        shutil.copyfile(file.path, target)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    """Files below ``folder``; those that vanish meanwhile are left out."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir():
            yield from _walk(entry.path)
        elif entry.is_file():
            yield entry


def _identity(path: str, found: os.stat_result) -> FileIdentity:
    # The kernel sets the change time, nobody else can. Device numbers are not the same on every
    # machine that mounts a file system, inodes are.
    token = f"{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"
    return FileIdentity(path=path, size=found.st_size, version=token, token=token)


def wait_until_settled(look: Callable[[], os.stat_result]) -> os.stat_result:
    """What ``look`` sees once the change time lies a tick of the clock back.

    A write within the tick of the one before it leaves the same time; so what is to be known by
    its time may be read only after the tick.
    """
    while True:
        found = look()
        tick = _TICK_NS if found.st_ctime_ns % _SECOND_NS else _COARSE_TICK_NS
        age = time.time_ns() - found.st_ctime_ns
        if not 0 <= age < tick:
            return found
        time.sleep((tick - age) / _SECOND_NS)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _beside(path: str, suffix: str) -> Path:
    return Path(path).with_name(f".{Path(path).name}{suffix}")


def _is_ours(name: str) -> bool:
    """Whether a name is that of a lock or a temporary file."""
    return name.startswith(".") and (
        name.endswith(_LOCK) or _TEMPORARY_NAME.fullmatch(name) is not None
    )


@contextmanager
def _written(path: str, data: bytes) -> Iterator[Path]:
    """``data`` safe on the disk under a temporary name; folder fsync and clean-up afterwards."""
    with _explained(path):
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path, f".{uuid.uuid4().hex}{_TEMPORARY}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
            _sync(folder)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock of ``path``. The kernel drops it when its holder dies, however it dies.

    Raises:
        StorageError: somebody holds it for longer than a transfer may stall.
    """
    lock = _beside(path, _LOCK)
    patience = current_policy().stall_s
    end = time.monotonic() + patience
    with _explained(path):
        while (descriptor := _take(lock)) is None:
            if time.monotonic() > end:
                raise StorageError(
                    f"{path}: another process has held {lock} for {patience:g} s; is it stopped? "
                    "Continue it or kill it (`fuser` names it)"
                )
            time.sleep(0.005)
        try:
            yield
            lock.unlink()
        finally:
            os.close(descriptor)


def _take(lock: Path) -> int | None:
    """A descriptor that holds the lock, or None where it cannot be had now.

    The last holder removes the file; a lock on a file that is gone from its name is worth nothing.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise AccessDeniedError(
            f"{path}: permission denied; check owner and mode of the file and its folders"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path}: no space left ({error.strerror}); free some and run again: it resumes"
            ) from error
        raise StorageError(f"{path}: {error.strerror or error}") from error
