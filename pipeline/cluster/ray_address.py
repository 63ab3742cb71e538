"""The address of the cluster that a run joins; tried here first, for Ray retries for minutes."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Final

from pipeline.cluster.session_folder import PREFIX
from pipeline.config import RayConfig
from pipeline.errors import ConfigurationError, NotFoundError

#: Where Ray notes the address of the cluster that was started last, below its folder.
_NOTE: Final = "ray_current_cluster"

_PROCESSES: Final = Path("/proc")

#: Beginnings of a raylet's arguments.
_ADDRESS: Final = "--gcs-address="
_SOCKET: Final = "--raylet_socket_name="


def cluster_address(config: RayConfig) -> str | None:
    """host:port of the cluster to join: the configured one, or the one that this is a job of.

    Returns:
        The address, ``auto``, or None where a Ray of our own is to be started.

    Raises:
        ConfigurationError: it is no address of a cluster.
    """
    address = config.address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and "://" in address:
        raise ConfigurationError(
            f"{setting_of(config)}: '{_without_credentials(address)}' is no address of a cluster; "
            "give host:port or auto from a node of it, or send the job there with `rerank submit`"
        )
    return None if address == "local" else address


def setting_of(config: RayConfig) -> str:
    """Where the address comes from, as a message names it."""
    return "ray.address" if config.address else "RAY_ADDRESS in the environment"


def found_cluster() -> str:
    """host:port of the cluster that this machine is a node of, which is what ``auto`` means.

    Ray itself would believe the command line of whatever process calls itself a raylet. Here it is
    one of this user or of root, and not the local Ray of another run.

    Raises:
        ConfigurationError: another user says which one.
        NotFoundError: there is none, or several.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named and named != "auto":
        return named
    living = {address for process in _PROCESSES.glob("[0-9]*") if (address := _of(process))}
    noted = _noted()
    if noted is not None and (not living or noted in living):
        return noted
    if len(living) == 1:
        return living.pop()
    found = f"several ({', '.join(sorted(living))})" if living else "none"
    raise NotFoundError(
        f"ray.address: auto means the cluster that this machine is a node of; there is {found}. "
        "Give its host:port, start one with `ray start --head`, or set ray.address to null for a "
        "local run"
    )


def _of(process: Path) -> str | None:
    """The cluster of a process of ours that is a raylet; None for any other process."""
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        owner = process.stat().st_uid
    except OSError:
        return None
    raylet = words[0].endswith("/raylet") and owner in _trusted()
    if not raylet or any(f"/{PREFIX}" in word for word in words if word.startswith(_SOCKET)):
        return None
    addresses = [word.removeprefix(_ADDRESS) for word in words if word.startswith(_ADDRESS)]
    return addresses[0] if addresses else None


def _noted() -> str | None:
    """The address that ``ray start`` left on this machine."""
    note = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", _NOTE)
    try:
        owner, address = note.lstat().st_uid, note.read_text().strip()
    except OSError:
        return None
    if owner not in _trusted():
        raise ConfigurationError(
            f"ray.address: auto means the cluster that {note} names, which another user (uid "
            f"{owner}) wrote; give the cluster's host:port, or set ray.address to null"
        )
    return address or None


def _trusted() -> tuple[int, int]:
    """Users whose word about clusters is taken: this one and root."""
    return os.getuid(), 0


def check_reachable(address: str, setting: str) -> None:
    """Refuse a host:port where nobody listens.

    Raises:
        NotFoundError: no connection within ten seconds.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise NotFoundError(
            f"{setting}: no cluster at '{address}' ({error}); give host:port or auto, start one "
            "with `ray start --head`, or set ray.address to null for a local run"
        ) from None


def _without_credentials(address: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
