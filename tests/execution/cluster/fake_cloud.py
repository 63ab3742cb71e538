"""A cloud whose machines are processes of this machine, for Ray's autoscaler.

Ray has such a cloud for its own tests, but what starts it is missing from the wheel and stops every
Ray of the host. Ray's autoscaler imports :class:`FakeCloud` by name.
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

HEAD_ID = "f" * 51 + "00000"

#: For the environment of the head: what makes its node the one that the cloud knows as its head.
ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
}


class FakeCloud(FakeMultiNodeProvider):
    """Ray's own, under a name that a configuration can give."""


def configuration(kinds: dict[str, Any], *, idle_minutes: float) -> dict[str, Any]:
    """A cluster that grows by nodes of ``kinds`` and gives back those that are idle."""
    nothing: dict[str, Any] = {
        name: []
        for name in (
            "initialization_commands", "setup_commands", "head_setup_commands",
            "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
            "cluster_synced_files", "rsync_exclude", "rsync_filter",
        )
    }  # fmt: skip
    head = {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0}
    return nothing | {
        "cluster_name": "fake",
        "max_workers": 8,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": idle_minutes,
        "provider": {
            "type": "external",
            "module": f"{__name__}.FakeCloud",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
        },
        "available_node_types": {"ray.head.default": head, **kinds},
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }
