"""A Redis and a PostgreSQL for tests, on Unix sockets, with nothing kept past the session.

Debian's packages ``redis-server`` and ``postgresql`` are enough.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.daemons import die_with_parent

_START_S = 60


def postgresql_programs() -> Path | None:
    """The folder of the newest server's programs; Debian keeps them out of the PATH."""
    found = shutil.which("postgres")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: f.parent.name)
    return folders[-1] if folders else None


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of an empty server while the context lasts.

    Args:
        folder: an empty one with a short name.
    """
    import redis  # machines that only measure have none

    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    url = f"unix://{socket}"
    with _running(command, folder, as_user=None) as server:
        _wait(lambda: redis.Redis.from_url(url).ping(), redis.ConnectionError, server, folder)
        yield url


@contextlib.contextmanager
def postgresql_server(folder: Path) -> Iterator[str]:
    """The connection string of a cluster with an empty database, while the context lasts.

    The server refuses to run as root, so that its own user takes its place there.

    Args:
        folder: an empty one with a short name.
    """
    import psycopg

    programs = postgresql_programs()
    assert programs is not None
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user, user)
    data = folder / "data"
    make = [str(programs / "initdb"), "--pgdata", str(data), "--username", "rerank"]
    make += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, cwd=folder, **_as(user))
    command = [str(programs / "postgres"), "-D", str(data), "-k", str(folder)]
    for setting in ("listen_addresses=", "fsync=off", "shared_buffers=16MB", "autovacuum=off"):
        command += ["-c", setting]
    url = f"host={folder} user=rerank dbname=postgres"
    with _running(command, folder, as_user=user) as server:
        _wait(lambda: psycopg.connect(url).close(), psycopg.OperationalError, server, folder)
        yield url


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path, *, as_user: str | None
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, preexec_fn=die_with_parent, **_as(as_user)
        )
    try:
        yield server
    finally:
        server.send_signal(signal.SIGINT)  # both stop at once, whoever is connected
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _as(user: str | None) -> dict[str, Any]:
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def _wait(
    ask: Callable[[], object],
    refused: type[Exception],
    server: subprocess.Popen[bytes],
    folder: Path,
) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            ask()
            return
        except refused as error:
            if server.poll() is not None or time.monotonic() > end:
                log = (folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the server did not start: {error}\n{log}") from error
        time.sleep(0.02)
