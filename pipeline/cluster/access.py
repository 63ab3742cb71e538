"""Access control of the Ray that a run starts or joins.

Anyone who can reach a Ray cluster can run code on all of its nodes, so a cluster that accepts
requests without a token is refused unless it listens on loopback only. The check sends a request
without a token; what the cluster was configured to do is not trusted.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage.home import home_path

#: Asks for the id of the cluster, which every client needs before anything else.
_CLUSTER_ID = "/ray.rpc.NodeInfoGcsService/GetClusterId"

_TIMEOUT_S = 20.0

HOW_TO_SECURE = (
    "start it with RAY_AUTH_MODE=token in the environment of every node, and give this command the "
    "same token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH=FILE; see docs/clusters.md). Where the "
    "network itself keeps strangers out, set ray.insecure_cluster to true"
)


def secure_local_ray(*, insecure: bool) -> None:
    """Prepare to start Ray on this machine with a token, in a file that only this user can read.

    Raises:
        ConfigurationError: RAY_AUTH_MODE in the environment turns tokens off.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() != "token":
        if insecure:
            return
        raise ConfigurationError(
            f"RAY_AUTH_MODE={mode} in the environment: a local Ray listens on every network "
            "interface, and without a token whoever reaches this machine runs code on it. Unset "
            "the variable, or set ray.insecure_cluster to true"
        )
    protect_token_file()


def _token_path() -> Path:
    return home_path(
        ".ray",
        "auth_token",
        instead="RAY_AUTH_TOKEN_PATH to a file of yours with a long random text",
    )


def protect_token_file() -> None:
    """Make sure that the token file, if one is used, exists and that only this user can read it.

    Ray would create a missing one readable by everybody, so it is created here first.

    Raises:
        ConfigurationError: it cannot be created, or its mode cannot be changed.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else _token_path()
    try:
        if path.is_file():
            status = path.stat()
            if status.st_uid == os.getuid() and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                path.chmod(stat.S_IMODE(status.st_mode) & stat.S_IRWXU)
        elif not named:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create_whole(path, secrets.token_hex(32).encode())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: Ray's token cannot be kept there ({error.strerror}); set RAY_AUTH_TOKEN_PATH "
            "to a file of yours with a long random text"
        ) from None


def _create_whole(path: Path, data: bytes) -> None:
    """Create ``path`` with ``data`` in one step; one that exists is kept."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()


def refuse_open_cluster(address: str, *, insecure: bool) -> None:
    """Refuse the cluster at ``host:port`` if it needs no token and is not on loopback.

    If it needs one, this process is set up to send it. Ray sends it unencrypted, so it goes to
    another machine only if the environment already says that tokens are to be sent.

    Raises:
        ConfigurationError: it needs no token, or a token would be sent that nobody asked to send.
        NotFoundError: it does not answer.
    """
    host = address.rpartition(":")[0]
    closed = _asks_for_token(address)
    if closed:
        if not (sends_tokens() or is_this_machine(host)):
            raise ConfigurationError(
                f"ray.address: the cluster at '{address}' asks for a token, which would cross the "
                "network unencrypted. Where that network is the cluster's own, set "
                "RAY_AUTH_MODE=token in the environment of this command; elsewhere, send the job "
                "with `rerank submit` through a tunnel (see docs/clusters.md)"
            )
        use_token()
    elif not (insecure or is_loopback(host)):
        raise ConfigurationError(
            f"ray.address: the cluster at '{address}' obeys whoever reaches it, for it runs "
            f"without token authentication; {HOW_TO_SECURE}"
        )


def answers(address: str) -> bool:
    """Whether a cluster's head answers at ``host:port``, even if only to ask for a token.

    Takes a few seconds at most.
    """
    return _ask(address, timeout_s=3.0) not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def use_token() -> None:
    """Make this process send its token, unless the environment says otherwise.

    Ray reads the mode when it is imported; it turns tokens on by itself only for clusters that it
    finds without an address.
    """
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def sends_tokens() -> bool:
    """Whether the environment says that Ray sends tokens."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is reached from this machine only."""
    name = host.strip("[]")
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """Whether what is sent to ``host`` stays on this machine."""
    if is_loopback(host):
        return True
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), 9, type=socket.SOCK_DGRAM)
        return bool(addresses) and all(
            _is_ours(family, place) for family, _, _, _, place in addresses
        )
    except OSError:
        return False


def _is_ours(family: int, place: Any) -> bool:
    """Whether an address is of this machine: the kernel then sends from that same address."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(place)  # sends nothing
        return bool(probe.getsockname()[0] == place[0])


def _asks_for_token(address: str) -> bool:
    status = _ask(address, timeout_s=_TIMEOUT_S)
    if status not in ("OK", "UNAUTHENTICATED"):
        raise NotFoundError(f"ray.address: no Ray cluster answers at '{address}' ({status})")
    return status == "UNAUTHENTICATED"


def _ask(address: str, *, timeout_s: float) -> str:
    """Name of the gRPC status of a request for the cluster's id without a token."""
    try:
        import grpc
    except ImportError:
        raise ConfigurationError(
            "joining a cluster needs Ray's cluster parts: pip install 'rerank-pipeline[cluster]'"
        ) from None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CLUSTER_ID)(b"", timeout=timeout_s)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"
