"""Local disks: temporary file, fsync, then one step that makes the whole content visible.

``create`` ends in a hard link, which refuses a name that exists; a rename would overwrite it
silently. ``replace`` compares and renames under a lock that dies with its holder. Files that a run
makes are never reached through a link (:mod:`pipeline.storage.local.files`); inputs may be.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import ConfigurationError
from pipeline.storage.backend import Backend, refuse_size
from pipeline.storage.content import changed, hash_whole, is_whole_hash
from pipeline.storage.files import Entry, FileIdentity, Temporary
from pipeline.storage.local.faults import explained
from pipeline.storage.local.files import kind_of, open_regular, opened_folder, regular
from pipeline.storage.local.identity import identity_of, wait_until_settled
from pipeline.storage.local.writes import is_ours, is_temporary, locked, written
from pipeline.storage.patterns import PathPattern


class LocalDisk(Backend):
    """Files of this machine, or of a file system that is mounted on it."""

    def __init__(self) -> None:
        #: Content and token of files that were read whole in this process.
        self._verified: set[tuple[str, str]] = set()

    def stat(self, path: str) -> FileIdentity | None:
        """Size, times and inode."""
        with explained(path):
            try:
                status = Path(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if stat.S_ISDIR(status.st_mode) else identity_of(path, status)

    def settled(self, path: str) -> FileIdentity | None:
        """Waits for the clock of the file system to tick, where the file is that young."""
        with explained(path):
            try:
                status = wait_until_settled(lambda: Path(path).stat())
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if stat.S_ISDIR(status.st_mode) else identity_of(path, status)

    def is_folder(self, path: str) -> bool:
        """Whether it is a directory."""
        return Path(path).is_dir()

    def find(self, folder: str) -> list[FileIdentity]:
        """Walks the folder; what vanishes meanwhile is left out."""
        with explained(folder):
            return [identity_of(entry.path, entry.stat()) for entry in _walk(folder)]

    def glob(self, pattern: str, endings: tuple[str, ...]) -> list[FileIdentity]:
        """Walks the folders that the pattern leads into."""
        wanted = PathPattern(pattern, endings)
        with explained(pattern):
            found = _walk(wanted.folder, enters=wanted.enters)
            return [
                identity_of(entry.path, entry.stat()) for entry in found if wanted.takes(entry.path)
            ]

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Locks and temporary files of ours are not among them."""
        files: list[str] = []
        folders: list[str] = []
        with explained(folder):
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        (folders if entry.is_dir() else files).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                pass
        return [name for name in files if not is_ours(name)], folders

    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """An open file stays the same one, whatever happens to its name.

        Where times or inode are other ones than expected, the content is hashed and must be the
        expected one. What is written into the open file is not noticed here: its token shows it.
        """
        with explained(path):
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
        now = identity_of(path, os.fstat(number))
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
        now = identity_of(path, wait_until_settled(lambda: os.fstat(number)))
        version = hash_whole(file)
        if version != expected.version or identity_of(path, os.fstat(number)) != now:
            raise changed(path, f"version {expected.version} -> {version}")
        self._verified.add((expected.version, now.token))
        file.seek(0)

    def entries(self, folder: str) -> list[Entry]:
        """By ``lstat``; locks and temporary files of ours are not among them."""
        found: list[Entry] = []
        with explained(folder):
            try:
                with opened_folder(Path(folder)) as descriptor, os.scandir(descriptor) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):  # it vanished meanwhile
                            about = entry.stat(follow_symlinks=False)
                            kind = kind_of(about.st_mode)
                            found.append(Entry(name=entry.name, kind=kind, size=about.st_size))
            except (FileNotFoundError, NotADirectoryError):
                pass
        return [entry for entry in found if not is_ours(entry.name)]

    def open_own(self, path: str) -> BinaryIO | None:
        """A regular file, or a refusal."""
        with explained(path):
            return open_regular(path)

    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """The version is the sha256 of the content."""
        with explained(path):
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
        with written(path, pieces) as (temporary, folder):
            regular(path, folder)
            os.replace(temporary, Path(path).name, src_dir_fd=folder, dst_dir_fd=folder)

    def create(self, path: str, data: bytes) -> bool:
        """Temporary file, fsync, hard link, folder fsync."""
        if _size(path) is not None:
            return False
        with written(path, (data,)) as (temporary, folder):
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
        with locked(path):
            current = open_regular(path)
            if current is None:
                return None
            with current:
                digest = hashlib.file_digest(current, "sha256")  # type: ignore[arg-type]
                if digest.hexdigest() != version:
                    return None
            self.write(path, data)
        return hashlib.sha256(data).hexdigest()

    def delete(self, path: str) -> None:
        """Unlink; what is no file of ours stays."""
        with explained(path):
            try:
                with opened_folder(Path(path).parent) as folder:
                    if regular(path, folder) is not None:
                        os.unlink(Path(path).name, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                return

    def temporary(self, folder: str) -> list[Temporary]:
        """Files that are being written, or were when their process died, known by their names."""
        with explained(folder):
            return [
                Temporary(
                    path=entry.path,
                    size=entry.stat().st_size,
                    modified=datetime.fromtimestamp(entry.stat().st_mtime, UTC),
                )
                for entry in _walk(folder, follow=False)
                if is_temporary(entry.name)
            ]

    def arrow_place(self, path: str) -> tuple[Any, str]:
        """Arrow's own."""
        from pyarrow.fs import LocalFileSystem  # readers of datasets only

        return LocalFileSystem(), path

    def modified(self, folder: str) -> datetime | None:
        """By modification times; links are not followed."""
        with explained(folder):
            times = [entry.stat().st_mtime for entry in _walk(folder, follow=False)]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def remove_empty(self, folder: str) -> None:
        """``rmdir``; a lock or temporary file of ours that a killed process left goes as well."""
        with explained(folder):
            try:
                with opened_folder(Path(folder)) as descriptor, os.scandir(descriptor) as entries:
                    names = [entry.name for entry in entries]
                    for name in names if all(map(is_ours, names)) else ():
                        os.unlink(name, dir_fd=descriptor)
                with suppress(OSError):  # it is not empty
                    Path(folder).rmdir()
            except (FileNotFoundError, NotADirectoryError):
                return

    def fetch(self, file: FileIdentity, target: Path) -> None:
        """A plain copy."""
        shutil.copyfile(file.path, target)


def _walk(
    folder: str,
    *,
    follow: bool = True,
    enters: Callable[[str], bool] = lambda _: True,
    above: frozenset[str] = frozenset(),
) -> Iterator[os.DirEntry[str]]:
    """Files below ``folder``; those that vanish meanwhile are left out, links unless followed.

    Args:
        folder: where to begin.
        follow: whether links are followed; one that leads back to a folder above it never is.
        enters: whether a folder is looked into.
        above: folders that this one lies in, where links lead to it.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=follow):
            if not enters(entry.path):
                continue
            chain = above
            if entry.is_symlink():
                place, chain = os.path.realpath(entry.path), above | {os.path.realpath(folder)}
                if any(f"{one}/".startswith(f"{place}/") for one in chain):
                    continue
            yield from _walk(entry.path, follow=follow, enters=enters, above=chain)
        elif entry.is_file(follow_symlinks=follow):
            yield entry


def _size(path: str) -> int | None:
    """Bytes of the regular file at ``path``; None where nothing is."""
    with explained(path):
        try:
            with opened_folder(Path(path).parent) as folder:
                found = regular(path, folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return None if found is None else found.st_size
