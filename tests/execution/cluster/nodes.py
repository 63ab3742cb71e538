"""A Ray cluster of several nodes on this machine, in a process of its own that obeys its input.

Run as ``python -m tests.execution.cluster.nodes FOLDER NODE...`` with every node's resources as
JSON, the head's first. The first line of output is the cluster's address; then comes one line per
node, its processes by name as JSON. Each line of input is a command, ``add {...}`` or
``remove NUMBER``, and is answered in the same way. At the end of input every process that was
started here is stopped. Nothing else on the machine is touched: folder, ports and the file in which
Ray notes the address of "the" cluster of a machine are this cluster's own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

#: A node is given up after six seconds without a sign of life. Fewer misses would be no test of
#: faults but of how busy the machine is.
SETTINGS = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 12,
    "gcs_rpc_server_reconnect_timeout_s": 20,
}


def main(folder: str, *resources: str) -> None:
    """Start the nodes, then obey."""
    os.environ["RAY_TMPDIR"] = folder
    Path(folder, "ray").mkdir()
    from ray.cluster_utils import Cluster

    head, *others = [json.loads(text) for text in resources]
    cluster = Cluster()
    own = {"temp_dir": folder, "include_dashboard": False, "_system_config": SETTINGS}
    nodes: list[Any] = [cluster.add_node(**head, **own)]
    print(json.dumps(cluster.address), flush=True)
    answer(nodes[0])
    try:
        for other in others:
            nodes.append(cluster.add_node(**other))
            answer(nodes[-1])
        for line in sys.stdin:
            verb, _, argument = line.strip().partition(" ")
            if verb == "add":
                nodes.append(cluster.add_node(**json.loads(argument)))
                answer(nodes[-1])
            elif verb == "remove":
                cluster.remove_node(nodes[int(argument)])
                print("{}", flush=True)
    finally:
        for node in reversed(nodes):
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def answer(node: Any) -> None:
    """Say which processes a node consists of."""
    found = {name: infos[0].process.pid for name, infos in node.all_processes.items()}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
