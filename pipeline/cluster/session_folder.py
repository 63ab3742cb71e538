"""A folder of this user alone for the files and processes of a session, cleaned up after it.

See :mod:`pipeline.cluster.cleanup_process` for what happens to both when the driver ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.cluster import cleanup_process
from pipeline.errors import ConfigurationError, RunFailedError

PREFIX: Final = "rerank-"

#: Folders of failed sessions are kept this long; then the next session removes them.
_KEPT_S: Final = 7 * 24 * 3600.0

#: How long a cleanup process may take; it gives up by itself a little sooner.
_END_S: Final = 30.0

#: What the kernel allows for the path of a socket, in bytes (sun_path, less its closing zero).
_SOCKET_PATH: Final = 107


class CleanupProcess:
    """The process that cleans up after this one; see :mod:`pipeline.cluster.cleanup_process`.

    Args:
        folder: the folder; empty if it only has to report that the driver was killed.
    """

    def __init__(self, folder: str = "") -> None:
        command = [sys.executable, "-I", "-S", cleanup_process.__file__, str(os.getpid()), folder]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={},
                cwd="/",
            )
        except OSError as error:
            raise RunFailedError(
                f"{sys.executable}: no process can be started ({error.strerror}); raise the limit "
                "on processes (ulimit -u), or free memory, and run the same command again"
            ) from None

    def say(self, word: bytes) -> None:
        """Send ``KEEP`` or ``REMOVE``, which it acts on before this process has ended."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # it is gone, or was told before
            if not stdin.closed:
                os.write(stdin.fileno(), word)
                stdin.close()

    def wait(self) -> None:
        """Until it has done its work."""
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class SessionFolder:
    """A new folder, readable by this user alone whatever the umask.

    Attributes:
        path: the folder.

    Args:
        base: where it is made.

    Raises:
        ConfigurationError: no folder can be made there.
        RunFailedError: no process can be started.
    """

    def __init__(self, base: str) -> None:
        base = os.path.realpath(base)  # as the kernel names the files that processes hold open
        _remove_old(base)
        try:
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=base)  # mode 700
        except OSError as error:
            raise ConfigurationError(
                f"{base}: no folder can be made there for temporary files ({error.strerror}); "
                "set RAY_TMPDIR or TMPDIR to a folder of yours on a disk with space"
            ) from None
        try:
            self._cleanup = CleanupProcess(self.path)
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def marking(self) -> Iterator[None]:
        """Processes that are started in the body belong to the folder."""
        os.environ[cleanup_process.VARIABLE] = self.path
        try:
            yield
        finally:
            os.environ.pop(cleanup_process.VARIABLE, None)

    def say(self, *, keep_logs: bool) -> None:
        """End what belongs to the folder, this process spared, without waiting for it."""
        self._cleanup.say(cleanup_process.KEEP if keep_logs else cleanup_process.REMOVE)

    def close(self, *, keep_logs: bool = False) -> None:
        """End what belongs to the folder, this process spared; remove it, or all but its logs."""
        self.say(keep_logs=keep_logs)
        self._cleanup.wait()
        if not keep_logs:  # the cleanup process may have been killed
            shutil.rmtree(self.path, ignore_errors=True)


def temporary_base() -> str:
    """The folder for temporary files.

    Raises:
        ConfigurationError: no folder of the system can be written to.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        raise ConfigurationError(
            "no folder for temporary files can be written to (/tmp, /var/tmp, /usr/tmp and the "
            "working folder are full or read-only); set TMPDIR to one of yours on a disk with space"
        ) from None


def base_for_sockets(below: int) -> str:
    """Where a folder may be made that Ray's sockets fit into.

    Args:
        below: bytes that the path of a socket needs below the base.

    Returns:
        ``RAY_TMPDIR`` where it is set, else the folder for temporary files, else ``/tmp`` where the
        kernel's limit on paths of sockets leaves no other choice.

    Raises:
        ConfigurationError: ``RAY_TMPDIR`` cannot be made, or is too long; or there is no other.
    """
    named = os.environ.get("RAY_TMPDIR")
    base = str(Path(named).expanduser().absolute()) if named else temporary_base()
    room = _SOCKET_PATH - below
    if named:
        if len(os.fsencode(base)) > room:
            raise ConfigurationError(
                f"RAY_TMPDIR={named}: {base} is too long for Ray's sockets, whose paths the kernel "
                f"limits to {_SOCKET_PATH} bytes; name a folder of at most {room}"
            )
        try:
            Path(base).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"RAY_TMPDIR={named}: this folder cannot be made ({error.strerror}); name one that "
                "you may write to, or unset it"
            ) from None
    return base if len(os.fsencode(base)) <= room else "/tmp"


def _remove_old(base: str) -> None:
    """Remove folders of sessions of ours that failed long ago."""
    for folder in Path(base).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            old = time.time() - status.st_mtime > _KEPT_S
            if old and status.st_uid == os.getuid() and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Whether this was a session's folder, and no cleanup process holds it any more."""
    lock = os.open(folder / cleanup_process.LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)
