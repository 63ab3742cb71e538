"""Checks of the address of ``rerank submit``: who may be sent a job, and a token.

A token gives access to every node of a cluster, so it is sent over https or to this machine, where
a tunnel begins; over plain http to another machine only with ``--plain-http``. No request follows a
redirect, so the server that was checked is the one that gets the job.
"""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from pipeline.cluster.access import (
    HOW_TO_SECURE,
    is_loopback,
    sends_tokens,
    use_token,
)
from pipeline.errors import ConfigurationError, NotFoundError

_TIMEOUT_S: Final = 20.0


def check_job_server(url: str, *, insecure: bool, plain_http: bool) -> None:
    """Refuse a job server that needs no token, or that would get the token unencrypted.

    If it needs a token, this process is set up to send one.

    Args:
        url: ``http(s)://host:port``.
        insecure: accept one that needs no token.
        plain_http: the token may be sent unencrypted to another machine.

    Raises:
        ConfigurationError: it is refused, or ``url`` is no address of a job server.
        NotFoundError: it does not answer.
    """
    parts = _parsed(url)
    host = parts.hostname or ""
    loopback = is_loopback(host)
    if loopback:
        _go_direct(host)
    closed = _asks_for_token(url)
    if closed or sends_tokens():
        if parts.scheme == "http" and not (loopback or plain_http):
            raise ConfigurationError(
                f"--address {url}: the token would cross the network unencrypted, for all on its "
                "way to read. Forward a port (ssh -L 8265:127.0.0.1:8265 HEAD, or kubectl "
                "port-forward) and give http://127.0.0.1:8265, or give an https:// address; where "
                "the network itself is private to the cluster, pass --plain-http"
            )
        use_token()
    if not (closed or insecure or loopback):
        raise ConfigurationError(
            f"--address {url}: this job server obeys whoever reaches it, for its cluster runs "
            f"without token authentication; {HOW_TO_SECURE}"
        )


def _parsed(url: str) -> SplitResult:
    """Parse an address; an error does not repeat one that holds a secret."""
    if "@" in url:
        raise ConfigurationError(
            "--address: it has a name or password in it (before an @), which process lists and "
            "logs would show, and Ray has no use for one; give http(s)://HOST:PORT, and the token "
            "in RAY_AUTH_TOKEN_PATH"
        )
    shown = re.split("[?#]", url)[0]
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ConfigurationError(
            f"--address {shown}: give the job server of the cluster, http://HOST:8265 or https://; "
            "no other kind of address leads to one"
        )
    if shown != url:
        raise ConfigurationError(
            f"--address {shown}: give the job server alone, without what follows ? or #"
        )
    return parts


def _go_direct(host: str) -> None:
    """Bypass every proxy for this machine, whatever the environment says."""
    for name in ("no_proxy", "NO_PROXY"):
        known = os.environ.get(name)
        os.environ[name] = f"{known},{host}" if known else host


def _asks_for_token(url: str) -> bool:
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(f"{url.rstrip('/')}/api/jobs/", timeout=_TIMEOUT_S):
            return False
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return True
        if 300 <= error.code < 400:
            where = error.headers.get("Location", "elsewhere")
            raise NotFoundError(
                f"--address {url}: it sends us on to {where!r}; give the job server's own address"
            ) from None
        raise NotFoundError(
            f"--address {url}: no Ray job server answers there (HTTP {error.code})"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotFoundError(f"--address {url}: no job server answers there ({error})") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the redirect is an error."""
