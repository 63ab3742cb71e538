"""Files of our own on a local disk: opened, made and removed without following a link.

A name below an output folder is either a regular file (or folder) that a run made, or it is not
ours. Whatever stands there instead, a link, a FIFO, a device or a folder, is refused by name: what
a link points to is never read or written, and a FIFO never makes anybody wait. The folder that a
file lies in is opened once and everything is done relative to it, so that nothing can be put in
between. What a user names (an input, an output folder) may be a link; it is resolved before.

Files and folders are made for those who may read the folder around them, and for nobody else: a run
in a folder of mode 750 is not world-readable, wherever that folder is moved or copied to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pipeline.errors import DamagedRunError
from pipeline.storage.files import FILE, FOLDER, LINK

_SPECIAL: Final = (
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY

#: Modes of files and folders, of which the umask takes its part.
_FILE_MODE: Final = 0o666
_FOLDER_MODE: Final = 0o777


def kind_of(mode: int) -> str:
    """What a mode of ``lstat`` says: file, folder, symbolic link, FIFO, socket or device."""
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISDIR(mode):
        return FOLDER
    if stat.S_ISLNK(mode):
        return LINK
    return next((name for is_such, name in _SPECIAL if is_such(mode)), "special file")


def not_ours(path: str, kind: str, expected: str = FILE) -> DamagedRunError:
    """The error for something that no run made, where a run expects its own."""
    return DamagedRunError(
        f"{path}: a {kind}, where a {expected} of a run is expected; it is not followed, read or "
        "replaced. Move it away and run the same command again"
    )


@contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """A descriptor of a folder.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        DamagedRunError: a link is in its place.
    """
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError:
        if folder.is_symlink():
            raise not_ours(str(folder), LINK, FOLDER) from None
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def made_folder(folder: Path) -> None:
    """Make a folder where it is not yet, and those above it, for those who may read its parent.

    Raises:
        DamagedRunError: something else has its name, or that of a folder above it.
    """
    try:
        _make(folder)
    except (FileExistsError, FileNotFoundError, NotADirectoryError):
        for place in (folder, *folder.parents):
            with suppress(FileNotFoundError, NotADirectoryError):
                kind = kind_of(place.lstat().st_mode)
                if not place.is_dir():
                    raise not_ours(str(place), kind, FOLDER) from None
        raise


def _make(folder: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(folder.stat().st_mode):
            return
    if folder.parent != folder:
        _make(folder.parent)
    folder.mkdir(mode=_readable(folder.parent.stat().st_mode, _FOLDER_MODE), exist_ok=True)


def mode_in(folder: int) -> int:
    """Mode of a new file in an opened folder, for :func:`os.open`, where the umask takes away."""
    return _readable(os.fstat(folder).st_mode, _FILE_MODE)


def _readable(folder: int, mode: int) -> int:
    """``mode`` for its owner, and for those of group and others who may read a folder of a mode."""
    for read, rights in ((stat.S_IRGRP, stat.S_IRWXG), (stat.S_IROTH, stat.S_IRWXO)):
        if not folder & read:
            mode &= ~rights | (folder & (stat.S_IXGRP | stat.S_IXOTH))  # they may walk through it
    return mode


def regular(path: str, folder: int) -> os.stat_result | None:
    """The regular file of that name in an opened folder; None where nothing has it.

    Raises:
        DamagedRunError: something else has it.
    """
    try:
        status = os.stat(Path(path).name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise not_ours(path, kind_of(status.st_mode))
    return status


def open_regular(path: str) -> BinaryIO | None:
    """The regular file at ``path`` for reading; None where nothing is there.

    Raises:
        DamagedRunError: something else is there, or a link is in the place of its folder.
    """
    try:
        with opened_folder(Path(path).parent) as folder:
            if regular(path, folder) is None:
                return None
            file = os.fdopen(os.open(Path(path).name, _READ, dir_fd=folder), "rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = os.fstat(file.fileno()).st_mode  # the name may have changed hands since it was looked at
    if not stat.S_ISREG(mode):
        file.close()
        raise not_ours(path, kind_of(mode))
    return file
