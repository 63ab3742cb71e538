"""Who may give orders to the Ray that a run uses.

Whoever reaches a Ray cluster runs code on all of its nodes, so a cluster that answers without a
token is refused unless it listens on this machine alone. A cluster is asked, without a token,
whether it would obey: what it was configured to do is not taken on trust.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import stat
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage.home import home_path

#: Asks for the id of the cluster, which every client needs before anything else.
_CLUSTER_ID = "/ray.rpc.NodeInfoGcsService/GetClusterId"

_TIMEOUT_S = 20.0

_HOW_TO_SECURE = (
    "start it with RAY_AUTH_MODE=token in the environment of every node, and give this command the "
    "same token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH=FILE; see docs/clusters.md). Where the "
    "network itself keeps strangers out, set ray.insecure_cluster to true"
)


def secure_local_ray(*, insecure: bool) -> None:
    """Prepare the start of a Ray on this machine: with a token, in a file that only we can read.

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
    """Make sure that the token file, where one is used, exists and is ours alone.

    Ray makes a missing one readable for everybody; so it is made here first.

    Raises:
        ConfigurationError: it cannot be made or closed.
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
    """Put ``data`` at ``path`` unless somebody else was quicker; never visible in part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()


def refuse_open_cluster(address: str, *, insecure: bool) -> None:
    """Refuse the cluster at ``host:port`` when it obeys without a token and is not loopback.

    Where it asks for a token, this process is told to send one.

    Raises:
        ConfigurationError: it obeys strangers.
        NotFoundError: it does not answer.
    """
    closed = _asks_for_token(address)
    if closed:
        use_token()
    elif not (insecure or is_loopback(address.rpartition(":")[0])):
        raise ConfigurationError(
            f"ray.address: the cluster at '{address}' obeys whoever reaches it, for it runs "
            f"without token authentication; {_HOW_TO_SECURE}"
        )


def refuse_open_dashboard(url: str, *, insecure: bool) -> None:
    """The same for a job server at ``http(s)://host:port``.

    Raises:
        ConfigurationError: it obeys strangers, or ``url`` is none.
        NotFoundError: it does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"--address {url}: give the job server of the cluster, http://HOST:8265"
        )
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/jobs/", timeout=_TIMEOUT_S):
            closed = False
    except urllib.error.HTTPError as error:
        closed = error.code in (401, 403)
        if not closed:
            raise NotFoundError(
                f"--address {url}: no Ray job server answers there (HTTP {error.code})"
            ) from None
    except OSError as error:
        raise NotFoundError(f"--address {url}: no job server answers there ({error})") from None
    if closed:
        use_token()
    elif not (insecure or is_loopback(parts.hostname)):
        raise ConfigurationError(
            f"--address {url}: this job server obeys whoever reaches it, for its cluster runs "
            f"without token authentication; {_HOW_TO_SECURE}"
        )


def use_token() -> None:
    """Let this process send its token, as long as nothing else was asked for.

    Ray reads the mode when it is imported; it turns tokens on by itself only for clusters that it
    finds without an address.
    """
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is reached from this machine only."""
    name = host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _asks_for_token(address: str) -> bool:
    try:
        import grpc
    except ImportError:
        raise ConfigurationError(
            "joining a cluster needs Ray's cluster parts: pip install 'rerank-pipeline[cluster]'"
        ) from None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CLUSTER_ID)(b"", timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return True
            raise NotFoundError(
                f"ray.address: no Ray cluster answers at '{address}' ({error.code().name})"
            ) from None
    return False
