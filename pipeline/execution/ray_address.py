"""Which cluster a run joins, found and tried before Ray is, which would go on for minutes."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Final

from pipeline.config import RayConfig
from pipeline.errors import ConfigurationError, NotFoundError

#: Where Ray notes the address of the cluster that was started last, below its folder.
_NOTE: Final = "ray_current_cluster"


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
    """host:port of the cluster on this machine that ``auto`` means.

    Raises:
        ConfigurationError: another user says which one.
        NotFoundError: there is none, or several.
    """
    import ray._common.utils as utils
    from ray._private import services

    untyped: Any = utils
    note = Path(untyped.get_default_ray_temp_dir(), _NOTE)
    try:
        owner = note.lstat().st_uid
    except OSError:
        owner = os.getuid()
    if owner not in (os.getuid(), 0):
        raise ConfigurationError(
            f"ray.address: auto means the cluster that {note} names, which another user (uid "
            f"{owner}) wrote; give the cluster's host:port, or set ray.address to null"
        )
    try:
        return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except (ConnectionError, ValueError) as error:
        raise NotFoundError(
            f"ray.address: auto finds no cluster on this machine ({error}); give host:port, start "
            "one with `ray start --head`, or set ray.address to null for a local run"
        ) from None


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
