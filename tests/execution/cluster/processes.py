"""Processes that a test started: waiting for them, finding them, and ending them and no others."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = 300) -> Any:
    """The first true answer; it is an error when none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"no sign of {what} within {seconds} s")


def children(pid: int) -> list[psutil.Process]:
    """Every process below one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command(process: psutil.Process) -> str:
    """A process's command line, which a Ray worker rewrites to say what it runs; "" if gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(*processes: psutil.Process) -> None:
    """kill -9, where it is not too late."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def kill_tree(pid: int) -> None:
    """kill -9 of a process and of everything below it."""
    below = children(pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        below.append(psutil.Process(pid))
    kill(*below)
    psutil.wait_procs(below, timeout=30)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def machine_address() -> str:
    """The address that Ray gives a node of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
