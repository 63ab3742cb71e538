"""A step before the first snapshot that takes long says so; one that is quick says nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

logger = logging.getLogger("pipeline")

#: Seconds after which a step is told of, and between two such lines.
QUIET_S: Final = 5.0


@contextmanager
def told_while_slow(doing: str, *, quiet_s: float = QUIET_S) -> Iterator[None]:
    """Write a line of the log every few seconds while the body runs.

    Args:
        doing: what is waited for, as the sentence goes on after "waiting for".
        quiet_s: seconds before each line.
    """
    ended, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(quiet_s):
            logger.info("waiting for %s, %.0f s so far", doing, time.monotonic() - began)

    telling = threading.Thread(target=tell, name="slow step", daemon=True)
    telling.start()
    try:
        yield
    finally:
        ended.set()
        telling.join()
