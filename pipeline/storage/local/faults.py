"""What a local disk refused, and what can be done about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import AccessDeniedError, NotFoundError, StorageError


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what the system raises at a path into one of our errors.

    Raises:
        AccessDeniedError: the permissions do not allow it.
        NotFoundError: no file can have such a name.
        StorageError: the disk is full, or failed.
    """
    try:
        yield
    except PermissionError as error:
        raise AccessDeniedError(
            f"{path}: permission denied; check owner and mode of the file and its folders"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path}: no space left ({error.strerror}); free some, or inodes where `df -i` "
                "shows none free, and run again: it resumes"
            ) from error
        if error.errno == errno.EROFS:
            raise StorageError(
                f"{path}: {error.strerror}; mount it for writing and run again, which resumes, or "
                "put the output elsewhere"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise NotFoundError(f"{path}: {error.strerror}") from error
        raise StorageError(f"{path}: {error.strerror or error}") from error
