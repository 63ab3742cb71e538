"""What a local disk says of a file without its content being read, and when a write changes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from pipeline.storage.files import FileIdentity

_SECOND_NS: Final = 1_000_000_000

#: Longer than any tick of Linux's coarse clock, by which it stamps files (10 ms at CONFIG_HZ=100).
_TICK_NS: Final = 20_000_000

#: File systems that stamp whole seconds, or every second one (FAT).
_COARSE_TICK_NS: Final = 2 * _SECOND_NS


def identity_of(path: str, status: os.stat_result) -> FileIdentity:
    """A file by what ``stat`` found: size, times and inode."""
    # The kernel sets the change time, nobody else can. Device numbers are not the same on every
    # machine that mounts a file system, inodes are.
    token = f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"
    return FileIdentity(path=path, size=status.st_size, version=token, token=token)


def wait_until_settled(look: Callable[[], os.stat_result]) -> os.stat_result:
    """What ``look`` sees once the change time lies a tick of the clock back.

    A write within the tick of the one before it leaves the same time; so what is to be known by
    its time may be read only after the tick. Where the clock of this machine lies behind that of
    the file system, a whole tick is waited for.
    """
    status = look()
    while True:
        tick = _TICK_NS if status.st_ctime_ns % _SECOND_NS else _COARSE_TICK_NS
        age = time.time_ns() - status.st_ctime_ns
        if age >= tick:
            return status
        time.sleep((tick - max(0, age)) / _SECOND_NS)
        now = look()
        if age < 0 and now.st_ctime_ns == status.st_ctime_ns:
            return now
        status = now
