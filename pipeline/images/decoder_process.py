"""The process that decodes images: nothing but Pillow in it, little memory, no secrets, no files.

Started by :mod:`pipeline.images.decoder` with a socket as its standard input. It answers one
request after the other and ends when the socket does. What it must not exceed is set by the
kernel: 1 GiB of memory, seconds of a CPU per image, no file written.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import struct
import sys
from typing import Any, BinaryIO

from pipeline.images.decoding import MEMORY, DamagedError, ImageSize, TooLargeError, resized

HEAD = struct.Struct(">II")


def main() -> None:
    """Answer requests until there are no more."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _limit(kind, most)
    # Ends the process, whatever a decoder in C is doing; the parent may have blocked it.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # is for the job, which ends this one
    connection = socket.socket(fileno=0)
    with connection, connection.makefile("rb") as requests:
        while (request := receive(requests)) is not None:
            asked, data = request
            signal.setitimer(signal.ITIMER_PROF, asked["seconds"])
            found, pixels = _decoded(asked, data)
            signal.setitimer(signal.ITIMER_PROF, 0)
            del data, request
            connection.sendall(message(found, pixels))


def message(described: dict[str, Any], data: bytes) -> bytes:
    """A request or an answer: lengths, plain data as JSON, bytes."""
    head = json.dumps(described).encode()
    return HEAD.pack(len(head), len(data)) + head + data


def receive(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None where the other side has ended."""
    lengths = file.read(HEAD.size)
    if len(lengths) < HEAD.size:
        return None
    described, size = HEAD.unpack(lengths)
    head, data = file.read(described), file.read(size)
    return (json.loads(head), data) if len(data) == size else None


def _decoded(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        image = resized(data, ImageSize(**asked["size"]), max_pixels=asked["max_pixels"])
        return {"height": image.height, "width": image.width}, image.tobytes()
    except TooLargeError as error:
        return {"too_large": str(error)}, b""
    except DamagedError as error:
        return {"damaged": str(error)}, b""


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(kind, (most, most))
    except (ValueError, OSError):
        # Not on every system; sizes are judged from the header all the same.
        sys.stderr.write("a limit of the decoding process cannot be set here\n")


if __name__ == "__main__":
    main()
