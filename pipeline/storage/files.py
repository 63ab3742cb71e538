"""What a store says about its files, folders and unfinished uploads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Kinds of :class:`Entry`; a local disk has further ones (FIFO, socket, device).
FILE: Final = "file"
FOLDER: Final = "folder"
LINK: Final = "symbolic link"


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """One file and the version of it that was seen.

    Attributes:
        path: absolute local path or full URI.
        size: bytes.
        version: what stands for the content: the store's ETag or generation, or a hash of the
            content (:mod:`pipeline.storage.content`). Without either, the same as ``token``.
        token: what the store says of the file without its content being read, which another write
            changes: on a disk modification time, change time and inode. It is not what identifies
            the content, for a file may be touched or copied.
        strong: whether ``version`` stands for the content.
    """

    path: str
    size: int
    version: str
    token: str = ""
    strong: bool = False

    def described(self) -> dict[str, str | int]:
        """What identifies the content, as plain data, without what may change while it stays."""
        return {"path": self.path, "size": self.size, "version": self.version}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One name in a folder, as it stands there: links are not followed.

    Attributes:
        name: without the folder.
        kind: :data:`FILE`, :data:`FOLDER`, :data:`LINK` or another word of a local disk's.
        size: bytes; of a file.
    """

    name: str
    kind: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted; readers do not see it.

    Attributes:
        path: URI of the object that it would become.
        upload_id: the store's name for it.
        started: when, by the store's clock.
    """

    path: str
    upload_id: str
    started: datetime


@dataclass(frozen=True, kw_only=True)
class Temporary:
    """A local file of a write that is going on, or whose process died in the middle of it.

    Attributes:
        path: absolute.
        size: bytes.
        modified: when it was last written to, by this machine's clock.
    """

    path: str
    size: int
    modified: datetime
