"""The user's own folders, which a process without a home or with a deleted folder does not have."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline.errors import NotFoundError

#: What was meant for a URI: a scheme (no drive, which is one letter), and a slash too few.
_HALF_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)/")


def home_path(*names: str, instead: str) -> Path:
    """A path below the home folder.

    Args:
        names: folders below it.
        instead: what to set where there is no home folder; goes into the message.

    Raises:
        NotFoundError: HOME is not set, and the user has no entry in the password database.
    """
    try:
        return Path.home().joinpath(*names)
    except RuntimeError:
        raise NotFoundError(_no_home("/".join(["~", *names]), instead)) from None


def is_folder(place: str | Path) -> bool:
    """Whether a word is the place of a local folder, also one that no path can be."""
    return _there(Path.is_dir, place)


def is_file(place: str | Path) -> bool:
    """As :func:`is_folder`, of a file."""
    return _there(Path.is_file, place)


def _there(is_so: Callable[[Path], bool], place: str | Path) -> bool:
    try:
        return is_so(Path(place))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def expanded(path: str, *, setting: str = "") -> Path:
    """A local path with ``~`` and ``~user`` replaced.

    Raises:
        NotFoundError: there is no such home folder, or it is a URI with a slash too few, which
            would name a folder below that of the process.
    """
    named = f"{setting}: '{path}'" if setting else f"'{path}'"
    if "\0" in path:
        raise NotFoundError(f"{named}: no path has a zero character in it")
    half = _HALF_URI.match(path)
    if half is not None and not Path(half[1]).exists():
        raise NotFoundError(
            f"{named}: a URI has two slashes after its scheme: write {half[1]}//"
            f"{'/' if half[1] == 'file:' else ''}{path[half.end() :]}; a local folder of that name "
            f"is ./{path}"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = path.partition("/")[0]
        if user != "~":
            raise NotFoundError(f"{named}: there is no user {user[1:]!r} here") from None
        raise NotFoundError(_no_home(named, "give the whole path")) from None


def absolute_path(path: str) -> str:
    """A local path made absolute, ``~`` replaced and links followed.

    Raises:
        NotFoundError: it needs a home folder, the folder that the process works in is gone, or
            a link in it leads back to itself.
    """
    local = expanded(path)
    try:
        return str(local.resolve())
    except FileNotFoundError:
        raise NotFoundError(
            f"'{path}': relative to the folder that this process works in, which has been deleted; "
            "change to another folder, or give the whole path"
        ) from None
    except (RuntimeError, OSError) as error:  # by the version of Python
        if isinstance(error, OSError) and error.errno != errno.ELOOP:
            raise
        raise NotFoundError(f"'{path}': a symbolic link in it leads back to itself") from None


def _no_home(named: str, instead: str) -> str:
    return (
        f"{named}: there is no home folder: HOME is not set, and user id {os.getuid()} has no "
        f"entry in the password database. Set HOME to a folder of yours, or {instead}"
    )
