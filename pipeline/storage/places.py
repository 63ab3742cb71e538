"""Which store a path is in, and its name there."""

from __future__ import annotations

from functools import cache

from pipeline.errors import NotFoundError
from pipeline.storage.backend import Backend
from pipeline.storage.home import absolute_path, expanded


def place_of(path: str, *, resolve: bool = True) -> tuple[Backend, str]:
    """The store that a path is in, and its full name there; local links ``resolve`` or stay.

    A store that goes by two schemes has one of them in its names.

    Raises:
        NotFoundError: a file URI names another machine, or begins with a folder's name.
    """
    scheme, separator, rest = path.partition("://")
    if not separator or scheme in ("file", "local"):
        local = _of_this_machine(path, rest) if separator else path
        return _backend("file"), absolute(local) if resolve else _as_named(local)
    if scheme in ("s3", "s3a"):
        return _backend("s3"), f"s3://{rest}"
    if scheme in ("gs", "gcs"):
        return _backend("gs"), f"gs://{rest}"
    return _backend("fsspec"), path


def absolute(path: str) -> str:
    """A local path made absolute; a URI as it is.

    Raises:
        NotFoundError: there is no home folder, or no working folder, to start from.
    """
    return path if "://" in path else absolute_path(path)


def _of_this_machine(uri: str, rest: str) -> str:
    """The path of a file URI, which a host may stand before (RFC 8089), but no folder."""
    local = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    if local.startswith(("/", "~", ".")):
        return local
    raise NotFoundError(
        f"'{uri}': in a URI of a file a whole path follows the two slashes: write file:///{local}, "
        f"or {local} for what is in the working folder"
    )


def _as_named(path: str) -> str:
    return str(expanded(path).absolute())


@cache
def _backend(kind: str) -> Backend:
    # Each is imported where it is used: the client of a store that a job does not touch costs a
    # second at the start of every command.
    if kind == "file":
        from pipeline.storage.local.disk import LocalDisk

        return LocalDisk()
    if kind == "s3":
        from pipeline.storage.s3.store import S3

        return S3()
    if kind == "gs":
        from pipeline.storage.gcs import GoogleStorage

        return GoogleStorage()
    from pipeline.storage.filesystem import Filesystem

    return Filesystem()
