"""A real S3 server for tests: one monitor, one OSD in memory, and Ceph's RADOS Gateway on loopback.

Debian's packages ``radosgw``, ``ceph-mon`` and ``ceph-osd`` are enough. All daemons run in the
foreground as children of this process, and the kernel kills them when it dies.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.support.daemons import die_with_parent
from tests.support.s3_server import S3Server

PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "ceph-authtool")
_ACCESS, _SECRET = "test", "test-secret"
_COMMAND_S, _START_S = 90, 60
_REQUESTS = 1024

_CONFIG = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}/0
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {root}/keyring
auth allow insecure global id reclaim = true
run dir = {root}/run
admin socket = {root}/run/$name.asok
log file = {root}/log/$name.log
crash dir = {root}/log
osd objectstore = memstore
memstore device bytes = 4294967296
osd max object name len = 2048
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
ms bind msgr1 = false
ms async op threads = 1
osd op num shards = 1
[mon.a]
mon data = {root}/mon
[osd.0]
osd data = {root}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
rgw data = {root}/rgw
rgw enable usage log = false
rgw enable gc threads = false
rgw dynamic resharding = false
rgw override bucket index max shards = 1
rgw max concurrent requests = {requests}
"""


def installed() -> bool:
    """Whether the server's programs are on this machine."""
    return all(shutil.which(program) for program in PROGRAMS)


@contextlib.contextmanager
def rgw(root: Path, *, tries: int = 2) -> Iterator[S3Server]:
    """A server while the context lasts.

    Args:
        root: an empty folder with a short name, for everything that it writes.
        tries: how often to begin anew, where the machine was too busy or a port was taken.
    """
    for number in range(1, tries + 1):
        folder = root / f"try-{number}"
        daemons: list[subprocess.Popen[bytes]] = []
        try:
            server = _start(folder, daemons)
        except (subprocess.SubprocessError, TimeoutError) as error:
            _stop(daemons)
            if number == tries:
                raise RuntimeError(f"radosgw did not start: {error}\n{_logs(folder)}") from error
            continue
        try:
            yield server
        finally:
            _stop(daemons)
            shutil.rmtree(root, ignore_errors=True)
        return


def _start(root: Path, daemons: list[subprocess.Popen[bytes]]) -> S3Server:
    for name in ("mon", "osd", "rgw", "run", "log"):
        (root / name).mkdir(parents=True)
    port, mon_port = _free_ports(2)
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    config = root / "ceph.conf"
    config.write_text(
        _CONFIG.format(root=root, fsid=fsid, port=port, mon_port=mon_port, requests=_REQUESTS)
    )
    conf = ("-c", str(config))
    keyring = str(root / "keyring")
    caps = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
    _run(root, "ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", *caps[:3])
    for name in ("client.admin", "client.rgw", "osd.0"):
        _run(root, "ceph-authtool", keyring, "--gen-key", "-n", name, *caps)
    monmap = str(root / "monmap")
    address = f"[v2:127.0.0.1:{mon_port}]"
    _run(root, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
    _run(root, "ceph-mon", *conf, "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
    _daemon(root, daemons, "ceph-mon", *conf, "-i", "a", "-f")
    _run(root, "ceph", *conf, "--connect-timeout", "30", "osd", "new", osd, "0")
    _run(root, "ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
    _daemon(root, daemons, "ceph-osd", *conf, "-i", "0", "-f")
    _run(
        root,
        *("radosgw-admin", *conf, "-n", "client.rgw", "user", "create", "--uid=test"),
        *("--display-name=test", f"--access-key={_ACCESS}", f"--secret-key={_SECRET}"),
    )
    gateway = _daemon(root, daemons, "radosgw", *conf, "-n", "client.rgw", "-f")
    url = f"http://127.0.0.1:{port}"
    _wait(url, gateway)
    version = re.search(r"[\d.]+", _run(root, "radosgw", "--version"))
    return S3Server(
        name=f"Ceph RadosGW {version.group() if version else ''}".strip(),
        url=url,
        access_key=_ACCESS,
        secret_key=_SECRET,
        checks_keys=True,
        checks_content=True,
        overload=lambda: _overload(root),
    )


@contextlib.contextmanager
def _overload(root: Path) -> Iterator[None]:
    """More than two requests at a time are answered with 503 SlowDown."""
    socket_ = ("ceph", "--admin-daemon", str(root / "run" / "client.rgw.asok"))
    setting = "rgw_max_concurrent_requests"
    _run(root, *socket_, "config", "set", setting, "2")
    try:
        yield
    finally:
        _run(root, *socket_, "config", "set", setting, str(_REQUESTS))


def _run(root: Path, *command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_S, cwd=root, check=False
    )
    if done.returncode:
        raise subprocess.SubprocessError(f"{command[0]}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _daemon(
    root: Path, daemons: list[subprocess.Popen[bytes]], *command: str
) -> subprocess.Popen[bytes]:
    with (root / "log" / f"{command[0]}.stderr").open("wb") as log:
        started = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=root, preexec_fn=die_with_parent
        )
    daemons.append(started)
    return started


def _wait(url: str, gateway: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and gateway.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer")


def _stop(daemons: list[subprocess.Popen[bytes]]) -> None:
    for daemon in reversed(daemons):
        daemon.kill()
        daemon.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]


def _logs(root: Path) -> str:
    """The ends of what the daemons wrote."""
    files = sorted((root / "log").glob("*"))
    return "\n".join(
        f"{file.name}: {file.read_text(errors='replace')[-1000:]}"
        for file in files
        if file.is_file()
    )
