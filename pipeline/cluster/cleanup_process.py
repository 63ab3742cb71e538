"""Ends what a driver leaves behind; stdlib only, run as ``cleanup_process.py DRIVER FOLDER``.

A driver cannot clean up after SIGKILL, a crash, or Ray's own exit. So a small process in a session
of its own waits, through a pipe, for the driver to end. Then it kills every process that belongs to
the folder, and empties the folder. A process belongs to a folder when it holds a file below it open
for writing, as every process of Ray does with its log, or when it was started with the folder's
name in its environment. Both are facts of the kernel, which no reused process number can forge.

A driver that ends normally sends ``remove`` first, or ``keep`` if the logs explain a failure. If it
sends nothing, something else ended it, and this process says so on the driver's standard error.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

#: Marks processes that were started for a folder, beside the files that they hold open.
VARIABLE = "RERANK_SESSION_FOLDER"

#: Held by this process for as long as it lives; in the folder that it cleans up. Folders that an
#: earlier version left behind are recognised by this name as well.
LOCK = "guardian.lock"

REMOVE, KEEP = b"remove", b"keep"

#: Below a folder, what is kept to explain a failure: Ray's logs, and a child's standard error.
LOGS = "logs"

_LOOK_S = 0.1
_PATIENCE_S = 20.0


def main(driver: int, folder: str) -> None:
    """Wait for the driver's end, then clean up; an empty ``folder`` means nothing to clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lock = os.open(f"{folder}/{LOCK}", os.O_CREAT | os.O_RDONLY, 0o600) if folder else None
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_EX)
    said = _message(driver)
    logs = ""
    if folder:
        end_processes(folder, spared=driver if os.getppid() == driver else 0)
        if said == REMOVE:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            remove_all_but_logs(folder)
            logs = f"; Ray's logs are kept in {folder}"
    if not said:
        _print(
            "error: the driver of this run ended without a word: it was killed (by a person, or "
            "for memory), it crashed, or Ray ended it after its cluster was lost. Committed units "
            f"are kept: run the same command again to resume{logs}\n"
        )


def end_processes(folder: str, *, spared: int = 0) -> None:
    """SIGKILL for every process that belongs to ``folder``, until there is none."""
    until, clean = time.monotonic() + _PATIENCE_S, 0
    while clean < 2 and time.monotonic() < until:
        pids = [pid for pid in belonging(folder) if pid != spared]
        for pid in pids:
            _kill(pid, folder)
        clean = 0 if pids else clean + 1
        time.sleep(_LOOK_S)


def belonging(folder: str) -> list[int]:
    """Living processes of this user that belong to ``folder``, without this one."""
    own, me = os.getuid(), os.getpid()
    pids = []
    for process in Path("/proc").glob("[0-9]*"):  # none where this is no Linux
        with contextlib.suppress(OSError):
            pid = int(process.name)
            if pid != me and process.stat().st_uid == own and _belongs(process, folder):
                pids.append(pid)
    return pids


def remove_all_but_logs(folder: str) -> None:
    """Remove everything below ``folder`` but logs: spilled objects, sockets, unpacked packages."""
    for path in _apart_from_logs(Path(folder)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _apart_from_logs(folder: Path) -> Iterator[Path]:
    """What is no log and holds none, at most three levels down, where Ray has its logs."""
    for level in ("*", "*/*", "*/*/*"):
        for path in list(folder.glob(level)):
            inside = path.relative_to(folder).parts
            if LOGS in inside or path.name == LOCK:
                continue
            if path.is_symlink() or not (path.is_dir() and _holds_logs(path)):
                yield path


def _holds_logs(folder: Path) -> bool:
    return any(next(folder.glob(f"{level}{LOGS}"), None) for level in ("", "*/"))


def _message(driver: int) -> bytes:
    """What the driver sends before it closes the pipe or ends; empty when it could not."""
    said = b""
    while os.getppid() == driver and said not in (REMOVE, KEEP):
        ready, _, _ = select.select([0], [], [], 1.0)
        if ready:
            more = os.read(0, 64)
            if not more:
                break
            said += more
    return said


def _belongs(process: Path, folder: str) -> bool:
    wanted = f"{VARIABLE}={folder}".encode()
    with contextlib.suppress(OSError):
        if wanted in (process / "environ").read_bytes().split(b"\0"):
            return True
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            below = str(descriptor.readlink()).startswith(f"{folder}/")
            if below and _may_write(process / "fdinfo" / descriptor.name):
                return True
    return False


def _may_write(about: Path) -> bool:
    """Whether an open file may be written to, as /proc/PID/fdinfo/FD has it (in octal)."""
    flags = next(line for line in about.read_text().splitlines() if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _kill(pid: int, folder: str) -> None:
    """Kill a process unless its number went to another one since it was found."""
    with contextlib.suppress(OSError):
        try:
            held = os.pidfd_open(pid)
        except AttributeError:
            os.kill(pid, signal.SIGKILL)
            return
        try:
            if _belongs(Path(f"/proc/{pid}"), folder):
                signal.pidfd_send_signal(held, signal.SIGKILL)
        finally:
            os.close(held)


def _print(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
