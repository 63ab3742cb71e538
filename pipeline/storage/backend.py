"""What every kind of store must be able to do. Paths are absolute local paths or full URIs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import DamagedRunError
from pipeline.storage.files import Entry, FileIdentity, Temporary, Upload


class Backend(ABC):
    """One kind of store. An absent file is None or an empty list, never an exception.

    Raises:
        AccessDeniedError: by any method, where the store refuses the credentials.
        StorageError: by any method, where the store failed and went on failing.
    """

    @abstractmethod
    def stat(self, path: str) -> FileIdentity | None:
        """The file at ``path``."""

    def settled(self, path: str) -> FileIdentity | None:
        """The file at ``path``, once the next write is sure to change its token."""
        return self.stat(path)

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Whether anything lies below ``path``."""

    @abstractmethod
    def find(self, folder: str) -> list[FileIdentity]:
        """Every file below ``folder``."""

    @abstractmethod
    def glob(self, pattern: str, endings: tuple[str, ...]) -> list[FileIdentity]:
        """Every file that :class:`~pipeline.storage.patterns.PathPattern` takes."""

    @abstractmethod
    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the files and of the folders directly in ``folder``."""

    @abstractmethod
    def entries(self, folder: str) -> list[Entry]:
        """Every name directly in ``folder``, no link followed; empty where there is none."""

    @abstractmethod
    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """A seekable reader of one version: the expected one, else the one that is there now.

        Raises:
            InputContractError: the file is another version, or becomes one under the reader.
        """

    def open_own(self, path: str) -> BinaryIO | None:
        """A reader of a file that a run made; as ``open``, but through no link."""
        return self.open(path, None)

    @abstractmethod
    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """Whole content, verified where the store carries a checksum, and its version token.

        Raises:
            DamagedRunError: it is no file, or holds more than ``most_bytes``.
        """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Create or replace; a reader sees the old content or the new."""

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        """:meth:`write` of pieces, which a store without a better way puts together first."""
        self.write(path, b"".join(pieces))

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Create unless it exists; True when this very call created it."""

    @abstractmethod
    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """Replace ``version``; the new version, or None where it is no longer the current one."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove, where it is there."""

    @abstractmethod
    def fetch(self, file: FileIdentity, target: Path) -> None:
        """Copy a file to a local path."""

    def uploads(self, folder: str) -> list[Upload]:
        """Unfinished multipart uploads below ``folder``; a store without them has none."""
        return []

    def abort(self, upload: Upload) -> None:
        """Drop an unfinished upload and its parts."""
        raise ValueError(f"{upload.path}: this store has no multipart uploads")

    @abstractmethod
    def arrow_place(self, path: str) -> tuple[Any, str]:
        """A file system of Arrow's or fsspec's, and the name of ``path`` in it."""

    @abstractmethod
    def modified(self, folder: str) -> datetime | None:
        """When a file below ``folder`` was written last; None where there is none.

        Raises:
            StorageError: the store does not say when files were written.
        """

    @abstractmethod
    def remove_empty(self, folder: str) -> None:
        """Remove ``folder`` where nothing is left in it and the store has folders."""

    def temporary(self, folder: str) -> list[Temporary]:
        """Temporary files of writes below ``folder``; a store that writes at once has none."""
        return []


def refuse_size(path: str, size: int, most_bytes: int | None) -> None:
    """Raise where a file is too large to be what it is named like."""
    if most_bytes is not None and size > most_bytes:
        raise DamagedRunError(
            f"{path}: {size:,} bytes, more than the {most_bytes:,} that such a file may have, so "
            "it is not what a run wrote; move it away and run the same command again"
        )
