"""The clusters of conf/cluster hold to the schemas of those who read them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.checkpoints import cards
from pipeline.config import JobConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "conf" / "cluster"
CRD = ROOT.parent / "shared" / "data" / "kuberay" / "ray.io_rayjobs.yaml"
RAY_UP = ["aws.yaml", "gcp.yaml"]
KUBERAY = "kuberay-rayjob.yaml"

Change = Callable[[dict[str, Any]], object]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def test_every_cluster_file_is_one_that_is_checked_here() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.yaml")) == sorted([*RAY_UP, KUBERAY])


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_takes_the_file(name: str) -> None:
    [cluster] = documents(name)
    check_ray_up(cluster)


@pytest.mark.parametrize(
    "change",
    [
        lambda cluster: cluster.update(max_wrokers=1),
        lambda cluster: cluster.update(head_node_type="nope"),
        lambda cluster: cluster["available_node_types"]["gpu"].update(max_worker=1),
        lambda cluster: cluster["available_node_types"]["gpu"].update(resources={"GPU": "one"}),
    ],
)
def test_a_mistake_in_a_ray_up_file_is_seen(change: Change) -> None:
    [cluster] = documents("aws.yaml")
    change(cluster)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check_ray_up(cluster)


def check_ray_up(cluster: dict[str, Any]) -> None:
    """As ``ray up`` itself does before it talks to a cloud."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(cluster)))


@pytest.mark.parametrize("name", RAY_UP)
def test_a_ray_up_cluster_asks_for_a_token_and_shows_itself_to_nobody(name: str) -> None:
    [cluster] = documents(name)
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert cluster["setup_commands"][0] == "chmod 600 /home/ray/.ray/auth_token"
    for role in ("head", "worker"):
        [start] = [line for line in cluster[f"{role}_start_ray_commands"] if "ray start" in line]
        assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/home/ray/.ray/auth_token" in start
        assert ("--dashboard-host=127.0.0.1" in start) == (role == "head")


@pytest.mark.parametrize("name", RAY_UP)
def test_nodes_run_the_tested_ray_and_the_head_does_no_work(name: str) -> None:
    [cluster] = documents(name)
    tested = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert tested is not None
    assert f":{tested[1]}-" in cluster["docker"]["image"]
    kinds = cluster["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert kinds["head"]["max_workers"] == 0
    assert sum(kind["max_workers"] for kind in kinds.values()) <= cluster["max_workers"]


def test_the_job_of_the_manifest_is_valid() -> None:
    config, job = documents(KUBERAY)
    parsed = load_config(JobConfig, config["data"]["job.yaml"], source=KUBERAY)
    cards.resolve(parsed.model)
    groups = {group["groupName"]: group for group in job["spec"]["rayClusterSpec"][GROUPS]}
    assert parsed.replicas.labels == groups["gpu-spot"]["labels"]
    assert parsed.ray.task_labels == groups["cpu"]["labels"]
    assert parsed.replicas.most == groups["gpu-spot"]["maxReplicas"]


GROUPS = "workerGroupSpecs"


def test_the_manifest_asks_for_tokens_and_the_second_autoscaler() -> None:
    _, job = documents(KUBERAY)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    [gpu] = [group for group in cluster[GROUPS] if group["groupName"] == "gpu-spot"]
    [container] = gpu["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.fixture(scope="module")
def rayjob() -> jsonschema.Draft7Validator:
    """What KubeRay's operator accepts, and nothing that it would silently drop."""
    if not CRD.is_file():
        pytest.skip("needs ../shared/data/kuberay, the RayJob definition of KubeRay")
    definition = yaml.safe_load(CRD.read_text(encoding="utf-8"))
    [version] = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(schema)


def closed(schema: Any) -> Any:
    """The schema with every object closed: Kubernetes prunes unknown keys without a word."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if "properties" in found and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if found.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    return found


def test_kuberay_takes_the_manifest(rayjob: jsonschema.Draft7Validator) -> None:
    _, job = documents(KUBERAY)
    assert [error.message for error in rayjob.iter_errors(job)] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda cluster: cluster.update(enableInTreeAutoscalling=True),
        lambda cluster: cluster["autoscalerOptions"].update(version="v3"),
        lambda cluster: cluster[GROUPS][0].update(maxReplicas="8"),
        lambda cluster: cluster["authOptions"].update(mode="password"),
        lambda cluster: cluster[GROUPS][1]["template"]["spec"].update(nodeSelektor={}),
    ],
)
def test_a_mistake_in_the_manifest_is_seen(
    rayjob: jsonschema.Draft7Validator, change: Change
) -> None:
    _, job = documents(KUBERAY)
    change(job["spec"]["rayClusterSpec"])
    assert list(rayjob.iter_errors(job))
