"""``ray start --head`` with a token, and with a folder and ports of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.execution.cluster.processes import free_ports, kill_tree, machine_address, wait_for

#: The family of the jobs of these tests is a module that the product does not have itself.
ALLOW = ("--allow-code", "benchmarks.fixed_cost")

ROOT = Path(__file__).resolve().parents[3]
PYTHON = sys.executable
RAY = str(Path(PYTHON).with_name("ray"))


#: A head that does not come up on a busy machine is started again.
_STARTS = 3


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head node.

    Attributes:
        url: of its job server.
        address: host:port that drivers and nodes join.
        environment: of a client that has the token.
    """

    url: str
    address: str
    environment: dict[str, str]

    def get(self, path: str) -> Any:
        """What Ray's own API answers."""
        token = self.environment["RAY_AUTH_TOKEN"]
        asked = urllib.request.Request(
            f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked, timeout=60) as reply:
            return json.load(reply)

    def status_without_token(self) -> int:
        """HTTP status for somebody who has none; 0 when nobody answers yet."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/jobs/", timeout=20) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def started_head(
    *, autoscaling: dict[str, Any] | None = None, **environment: str
) -> Iterator[Head]:
    """A head with two CPUs.

    Args:
        autoscaling: a cluster's configuration, completed with this head's address.
        environment: more of it for the head.
    """
    own = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    for left in reversed(range(_STARTS)):
        with _one_head(own, environment, autoscaling) as (head, process, log):
            ready = wait_for(lambda: _state(head, process, log), "a head")
            if ready == "started":
                yield head
                return
            assert left, f"Ray did not start: {log.read_text()}"


def _state(head: Head, process: subprocess.Popen[bytes], log: Path) -> str | None:
    """started, ended, or None for neither so far.

    The job server answers before the rest is up, and Ray gives up a head whose raylet takes longer
    than 30 seconds, as it does on a busy machine.
    """
    if process.poll() is not None:
        return "ended"
    up = "Ray runtime started" in log.read_text() and head.status_without_token() == 401
    return "started" if up else None


@contextmanager
def _one_head(
    own: dict[str, str], environment: dict[str, str], autoscaling: dict[str, Any] | None
) -> Iterator[tuple[Head, subprocess.Popen[bytes], Path]]:
    gcs, dashboard, client, agent = free_ports(4)
    address = f"{machine_address()}:{gcs}"
    with tempfile.TemporaryDirectory(prefix="rr-", ignore_cleanup_errors=True) as folder:
        words = [
            RAY, "start", "--head", "--block", f"--temp-dir={folder}", "--num-cpus=2",
            f"--port={gcs}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}", "--min-worker-port=0", "--max-worker-port=0",
            f"--object-store-memory={150 * 2**20}", "--disable-usage-stats",
        ]  # fmt: skip
        if autoscaling is not None:
            autoscaling["provider"]["gcs_address"] = address
            Path(folder, "cluster.json").write_text(json.dumps(autoscaling))
            words.append(f"--autoscaling-config={folder}/cluster.json")
        path = Path(folder, "start.log")
        shown = {"PYTHONUNBUFFERED": "1", "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "240"}
        with path.open("w") as log:
            process = subprocess.Popen(words, env=own | shown | environment, stdout=log, stderr=log)
        try:
            head = Head(url=f"http://127.0.0.1:{dashboard}", address=address, environment=own)
            yield head, process, path
        finally:
            kill_tree(process.pid)
            process.wait()
