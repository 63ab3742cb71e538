"""Regular files below folders that the job allows, whatever links say and whoever changes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from pipeline.candidates.reasons import IMAGE_FETCH, IMAGE_LIMIT
from pipeline.images.errors import ImageError

_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_NO_LINK = os.O_NOFOLLOW
#: A pipe without a writer, or a terminal, would keep a plain open waiting.
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def read_below(path: str, roots: Iterable[str], *, most_bytes: int) -> bytes:
    """The content of a file that lies below one of ``roots`` once every link is resolved.

    The resolved path is walked from the root by descriptors that follow no link, so nobody can
    set one between the check and the reading.

    Args:
        path: absolute.
        roots: absolute folders; links in them are the job's own and are followed.
        most_bytes: of the file.

    Raises:
        ImageError: image_fetch: it is not there, lies elsewhere, or is no regular file;
            image_limit: it is larger.
    """
    try:
        found = os.path.realpath(path, strict=True)
        for root in roots:
            folder = os.path.realpath(root)
            if found.startswith(folder.rstrip("/") + "/"):
                return _read(folder, os.path.relpath(found, folder).split("/"), most_bytes)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise ImageError(IMAGE_FETCH, f"the file cannot be read: {text}") from None
    raise ImageError(
        IMAGE_FETCH,
        "the file lies below no folder of input.images.base and input.images.roots (links are "
        "followed first); name its folder there to allow it",
    )


def _read(folder: str, names: list[str], most_bytes: int) -> bytes:
    descriptor = os.open(folder, _FOLDER)
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER | _NO_LINK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        # Looked at before it is opened: opening a device may do something.
        _check(os.stat(names[-1], dir_fd=descriptor, follow_symlinks=False))
        file = os.open(names[-1], _FILE, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    with os.fdopen(file, "rb") as opened:
        _check(os.fstat(file))
        data = opened.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ImageError(IMAGE_LIMIT, f"more than input.images.max_bytes = {most_bytes}")
    return data


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(IMAGE_FETCH, "no regular file; pipes, devices and folders are not read")
