"""Decoding in a process of its own, which a hostile file may hang or crash.

One such process per worker process, started with the first image and kept; an image that ends it
is rejected, and the next one starts another.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.candidates.reasons import IMAGE_DECODE, IMAGE_LIMIT
from pipeline.config import ImagesConfig
from pipeline.images.decoder_process import HEAD, message
from pipeline.images.decoding import ImageSize
from pipeline.images.errors import ImageError

#: Where the process neither answers nor ends (it was stopped, say): seconds of the clock per
#: second of a CPU that it may take, as a machine that is busy with other things needs longer.
_WAIT: Final = 10

#: Seconds for a process that has closed its connection to end.
_ENDING_S: Final = 5.0

#: The module that it runs, whatever else of that name the folders of the path hold.
_PROCESS: Final = "pipeline.images.decoder_process"

#: Variables that loading Python and Pillow may need; no others are handed on.
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")


class Decoder:
    """A process that decodes; for several threads, one image at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._owner = 0

    def pixels(self, data: bytes, images: ImagesConfig, size: ImageSize) -> npt.NDArray[np.uint8]:
        """uint8 RGB [height, width, 3] of an encoded image, both sides multiples of ``factor``.

        Raises:
            ImageError: image_decode: it is no JPEG, PNG or WEBP, is damaged, or crashed its
                decoder; image_limit: it exceeds a limit on bytes, pixels, memory or time.
        """
        if len(data) > images.max_bytes:
            raise ImageError(IMAGE_LIMIT, f"more than input.images.max_bytes = {images.max_bytes}")
        asked = {
            "seconds": images.decode_s,
            "max_pixels": images.max_pixels,
            "size": asdict(size),
        }
        with self._lock:
            found, decoded = self._ask(message(asked, data), images.decode_s)
        if "too_large" in found:
            raise ImageError(IMAGE_LIMIT, found["too_large"])
        if "damaged" in found:
            raise ImageError(IMAGE_DECODE, found["damaged"])
        shape = (found["height"], found["width"], 3)
        return np.frombuffer(decoded, dtype=np.uint8).reshape(shape)

    def close(self) -> None:
        """End the process, where there is one."""
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()

    def _ask(self, request: bytes, seconds: float) -> tuple[dict[str, Any], bytearray]:
        fresh = self._start()
        try:
            return self._exchange(request, _WAIT * seconds)
        except TimeoutError:
            self.close()
            ended = -signal.SIGPROF
        except OSError:
            ended = self._ended()
        if ended == -signal.SIGPROF:
            raise ImageError(
                IMAGE_LIMIT, f"decoding takes more than input.images.decode_s = {seconds:g}"
            )
        if not fresh:  # it may have been killed between two images
            return self._ask(request, seconds)
        raise ImageError(IMAGE_DECODE, f"the process that decodes it ended with status {ended}")

    def _exchange(self, request: bytes, seconds: float) -> tuple[dict[str, Any], bytearray]:
        """Send a request and receive its answer.

        Raises:
            TimeoutError: it takes longer.
            OSError: the process ended.
        """
        end = time.monotonic() + seconds
        self._wait(end).sendall(request)
        described, size = HEAD.unpack(self._receive(HEAD.size, end))
        head = json.loads(self._receive(described, end))
        return head, self._receive(size, end)

    def _receive(self, size: int, end: float) -> bytearray:
        received = bytearray(size)
        view = memoryview(received)
        while view:
            count = self._wait(end).recv_into(view)
            if count == 0:
                raise ConnectionResetError
            view = view[count:]
        return received

    def _wait(self, end: float) -> socket.socket:
        """The connection, whose next step may take until ``end``."""
        if self._connection is None or (left := end - time.monotonic()) <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection

    def _start(self) -> bool:
        """Start the process unless there is one; whether it did."""
        if self._process is not None and self._owner == os.getpid():
            return False
        self.close()  # of a process that was forked, only its copy of the connection
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-m", "rerank_pipeline.module", _PROCESS],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._connection, self._owner = ours, os.getpid()
        return True

    def _ended(self) -> int:
        """Exit status of the process, which has closed its end; it is forgotten."""
        assert self._process is not None
        try:
            status = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        self.close()
        return status


@lru_cache(maxsize=1)
def decoder() -> Decoder:
    """The decoder of this process; it ends with it."""
    kept = Decoder()
    atexit.register(kept.close)
    return kept
