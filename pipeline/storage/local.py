"""Local disks: temporary file, fsync, then one step that makes the whole content visible.

``create`` ends in a hard link, which refuses a name that exists; a rename would overwrite it
silently. ``replace`` compares and renames under a lock that dies with its holder. Files that a run
makes are never reached through a link (:mod:`pipeline.storage.local_files`); inputs may be.
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import AccessDeniedError, ConfigurationError, NotFoundError, StorageError
from pipeline.storage.backend import Backend, refuse_size
from pipeline.storage.content import changed, hash_whole, is_whole_hash
from pipeline.storage.files import Entry, FileIdentity, Temporary
from pipeline.storage.local_files import (
    kind_of,
    made_folder,
    open_regular,
    opened_folder,
    regular,
)
from pipeline.storage.policy import retry_policy

_TEMPORARY, _LOCK = ".tmp", ".lock"
_PIECE = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
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

    def entries(self, folder: str) -> list[Entry]:
        """By ``lstat``; locks and temporary files of ours are not among them."""
        found: list[Entry] = []
        with _explained(folder):
            try:
                with opened_folder(Path(folder)) as descriptor, os.scandir(descriptor) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):  # it vanished meanwhile
                            about = entry.stat(follow_symlinks=False)
                            kind = kind_of(about.st_mode)
                            found.append(Entry(name=entry.name, kind=kind, size=about.st_size))
            except (FileNotFoundError, NotADirectoryError):
                pass
        return [entry for entry in found if not _is_ours(entry.name)]

    def open_own(self, path: str) -> BinaryIO | None:
        """A regular file, or a refusal."""
        with _explained(path):
            return open_regular(path)

    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """The version is the sha256 of the content."""
        with _explained(path):
            file = open_regular(path)
            if file is None:
                return None
            with file:
                refuse_size(path, os.fstat(file.fileno()).st_size, most_bytes)
                data = file.read()
        return data, hashlib.sha256(data).hexdigest()

    def write(self, path: str, data: bytes) -> None:
        """Temporary file, fsync, rename, folder fsync."""
        self.write_pieces(path, (data,))

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        """As :meth:`write`, each piece as it is made."""
        with _written(path, pieces) as (temporary, folder):
            regular(path, folder)
            os.replace(temporary, Path(path).name, src_dir_fd=folder, dst_dir_fd=folder)

    def create(self, path: str, data: bytes) -> bool:
        """Temporary file, fsync, hard link, folder fsync."""
        if _size(path) is not None:
            return False
        with _written(path, (data,)) as (temporary, folder):
            try:
                os.link(temporary, Path(path).name, src_dir_fd=folder, dst_dir_fd=folder)
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
        if _size(path) is None:
            return None
        with _locked(path):
            current = open_regular(path)
            if current is None:
                return None
            with current:
                if _sha256(current) != version:
                    return None
            self.write(path, data)
        return hashlib.sha256(data).hexdigest()

    def delete(self, path: str) -> None:
        """Unlink; what is no file of ours stays."""
        with _explained(path):
            try:
                with opened_folder(Path(path).parent) as folder:
                    if regular(path, folder) is not None:
                        os.unlink(Path(path).name, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                return

    def temporary(self, folder: str) -> list[Temporary]:
        """Files with the names that :func:`_written` gives."""
        with _explained(folder):
            return [
                Temporary(
                    path=entry.path,
                    size=entry.stat().st_size,
                    modified=datetime.fromtimestamp(entry.stat().st_mtime, UTC),
                )
                for entry in _walk(folder, follow=False)
                if _TEMPORARY_NAME.fullmatch(entry.name)
            ]

    def fetch(self, file: FileIdentity, target: Path) -> None:
        """A plain copy."""
        shutil.copyfile(file.path, target)


def _walk(folder: str, *, follow: bool = True) -> Iterator[os.DirEntry[str]]:
    """Files below ``folder``; those that vanish meanwhile are left out, links unless followed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=follow):
            yield from _walk(entry.path, follow=follow)
        elif entry.is_file(follow_symlinks=follow):
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


def _size(path: str) -> int | None:
    """Bytes of the regular file at ``path``; None where nothing is."""
    with _explained(path):
        try:
            with opened_folder(Path(path).parent) as folder:
                found = regular(path, folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return None if found is None else found.st_size


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _beside(path: str, suffix: str) -> str:
    return f".{Path(path).name}{suffix}"


def _is_ours(name: str) -> bool:
    """Whether a name is that of a lock or a temporary file."""
    return name.startswith(".") and (
        name.endswith(_LOCK) or _TEMPORARY_NAME.fullmatch(name) is not None
    )


@contextmanager
def _written(path: str, pieces: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """``pieces`` safe on the disk under a temporary name; folder fsync and clean-up afterwards.

    Yields:
        The temporary name, and a descriptor of the folder that it is in.
    """
    with _explained(path):
        made_folder(Path(path).parent)
        with opened_folder(Path(path).parent) as folder:
            temporary = _beside(path, f".{uuid.uuid4().hex}{_TEMPORARY}")
            try:
                with os.fdopen(os.open(temporary, _NEW, 0o666, dir_fd=folder), "wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary, folder
                os.fsync(folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock of ``path``. The kernel drops it when its holder dies, however it dies.

    Raises:
        StorageError: somebody holds it for longer than a transfer may stall.
    """
    name = _beside(path, _LOCK)
    lock = Path(path).with_name(name)
    patience = retry_policy().stall_s
    end = time.monotonic() + patience
    with _explained(path), opened_folder(Path(path).parent) as folder:
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
    descriptor = os.open(lock, _LOCK_FILE, 0o666, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(lock, dir_fd=folder).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


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
        if error.errno == errno.ENAMETOOLONG:
            raise NotFoundError(f"{path}: {error.strerror}") from error
        raise StorageError(f"{path}: {error.strerror or error}") from error
