"""Ray: its version, what it needs of this machine, and the cluster that a job would join."""

from __future__ import annotations

import resource
import socket
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from pipeline.cluster.access import refuse_open_cluster, secure_local_ray
from pipeline.cluster.ray_address import (
    check_reachable,
    cluster_address,
    found_cluster,
    setting_of,
)
from pipeline.cluster.ray_session import ray_session
from pipeline.cluster.ray_start import BELOW_BASE, RayJob
from pipeline.cluster.session_folder import base_for_sockets
from pipeline.doctor.finding import Finding, note, ok, problem

#: The version that clusters must have as well, for Ray joins none of another one.
_TESTED: Final = "2.60"

#: Builds a parser when it is imported: 1.1 of the 1.65 CPU-seconds that ``import ray`` then takes
#: on a core of a Zen 4. A run starts a dozen processes of Ray, and one for each worker that dies.
_SLOW: Final = "rfc3987_syntax"

_LOOPBACK: Final = "127.0.0.1"

#: Open files below which Ray's own processes run out of them (`ray start` warns of it, too).
_FILES: Final = 8192


def installed() -> list[Finding]:
    """The package, and what of this machine a local Ray needs."""
    try:
        there = version("ray")
    except PackageNotFoundError:
        return [problem("ray", "not installed", "pip install -c constraints.txt 'ray[data]'")]
    found = [_version(there)]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        found.append(
            note(
                "ray",
                f"at most {hard:,} open files a process",
                f"raise the limit (ulimit -n {_FILES}, or LimitNOFILE of the service)",
            )
        )
    if find_spec(_SLOW) is not None:
        found.append(
            note(
                "ray",
                f"each of its processes starts a second of CPU later, for {_SLOW} is installed: "
                "jsonschema imports it, and Ray imports jsonschema",
                "run in an environment without jsonschema[format-nongpl], which Jupyter asks for",
            )
        )
    return found


def reachable(job: RayJob, *, start: bool) -> list[Finding]:
    """The cluster of a job, or what a Ray of its own needs here.

    Args:
        job: its configuration.
        start: start a local Ray, or join the cluster, and end it again.

    Raises:
        RerankError: it cannot be reached, started, or must not be.
    """
    address = cluster_address(job.ray)
    if address is None:
        if not _reaches_itself():
            return [
                problem(
                    "ray",
                    f"this machine does not reach itself at {_LOOPBACK}, as Ray's processes must",
                    "bring its loopback interface up (ip link set lo up), or set ray.mode to "
                    "in_process",
                )
            ]
        secure_local_ray(insecure=job.ray.insecure_cluster)
        base = base_for_sockets(BELOW_BASE)
        said = f"a local one can keep its token, and its sockets below {base}"
    else:
        head = found_cluster() if address == "auto" else address
        check_reachable(head, setting_of(job.ray))
        refuse_open_cluster(head, insecure=job.ray.insecure_cluster)
        said = f"the cluster at {head} answers, and keeps strangers out as the job wants"
    if start:
        with ray_session(job):
            pass
        said += "; it was started and ended" if address is None else "; it was joined and left"
    return [ok("ray", said)]


def _reaches_itself() -> bool:
    """Whether there is a loopback interface; a network namespace begins without one."""
    try:
        with socket.create_server((_LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError:
        return False
    return True


def _version(there: str) -> Finding:
    parts = "with" if find_spec("aiohttp_cors") is not None else "without"
    found = f"{there}, {parts} what sends jobs to clusters"
    if not there.startswith(f"{_TESTED}."):
        return note(
            "ray", found, f"take {_TESTED}, which is tested: pip install -c constraints.txt ray"
        )
    if parts == "without":
        return note(
            "ray", found, "pip install 'rerank-pipeline[cluster]' to use rerank submit from here"
        )
    return ok("ray", found)
