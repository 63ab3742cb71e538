"""The clusters of conf/cluster hold to the schemas of those who read them."""

from __future__ import annotations

import copy
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.checkpoints import cards
from pipeline.config import JobConfig, load_config
from pipeline.doctor.cuda_builds import PYTORCH_INDEX

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
        lambda cluster: cluster["available_node_types"]["l4"].update(max_worker=1),
        lambda cluster: cluster["available_node_types"]["l4"].update(resources={"GPU": "one"}),
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
    token = "/home/ray/.ray/auth_token"
    own, close = cluster["setup_commands"][:2]
    assert own == f'[ -O {token} ] || sudo chown "$(id -u)" {token}', "who else would read it"
    assert close == f"chmod 600 {token}"
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


@pytest.mark.parametrize("name", [*RAY_UP, KUBERAY])
def test_the_first_lines_say_what_was_not_started(name: str) -> None:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    where = "a Kubernetes" if name == KUBERAY else "a paid account"
    assert lines[0].startswith(f"# Never started on {where} by this project.")
    assert "test_cluster_files.py" in " ".join(lines[:3])


@pytest.mark.parametrize("name", RAY_UP)
def test_every_machine_has_an_image_of_its_own_and_only_gpus_see_gpus(name: str) -> None:
    [cluster] = documents(name)
    for kind, node in cluster["available_node_types"].items():
        config = node["node_config"]
        # Where none is named, Ray 2.60 takes one of 2018 on AWS.
        disks = config.get("disks", [{"initializeParams": {}}])
        assert config.get("ImageId") or disks[0]["initializeParams"]["sourceImage"], kind
        options = node.get("docker", {}).get("worker_run_options", [])
        assert ("--env NVIDIA_VISIBLE_DEVICES=all" in options) == ("GPU" in node["resources"])


@pytest.mark.parametrize("name", RAY_UP)
def test_nodes_install_the_wheel_with_constraints_that_exist(name: str) -> None:
    [cluster] = documents(name)
    assert cluster["file_mounts"]["/home/ray/dist"] == "dist"
    assert "." not in cluster["file_mounts"].values(), "a checkout would be copied to every node"
    [install] = [line for line in cluster["setup_commands"] if "pip install" in line]
    builds = re.findall(r"echo (\w+)", install)
    assert builds == ["cuda13", "cpu"]
    assert all((ROOT / "constraints" / f"{build}.txt").is_file() for build in builds)
    assert f"--extra-index-url {PYTORCH_INDEX}/cpu " in install, "PyPI has no build for CPUs"
    [extras] = re.findall(r"\.whl\)\[([\w,]+)\]", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "cp -r constraints.txt $(wildcard constraints) dist/" in (ROOT / "Makefile").read_text()


def launched(cluster: dict[str, Any], wanted: int, *, failed: tuple[str, ...] = ()) -> Counter[str]:
    """The nodes that Ray's own autoscaler starts for replicas, by kind.

    Args:
        cluster: a file of ``ray up``.
        wanted: replicas that wait for a node, as ``replicas.labels: {pool: gpu}`` asks for them.
        failed: kinds that could not be had a moment ago.
    """
    from ray.autoscaler._private.util import prepare_config
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated.common_pb2 import LabelSelectorOperator

    config = AutoscalingConfig(prepare_config(copy.deepcopy(cluster)), skip_content_hash=True)
    pool = [("pool", LabelSelectorOperator.LABEL_OPERATOR_IN, ["gpu"])]
    demand = [
        ResourceRequestUtil.make({"GPU": 1.0, "CPU": 2.0}, label_selectors=[pool])
        for _ in range(wanted)
    ]
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count(demand),
            recoverable_resource_availabilities=dict.fromkeys(failed, 0.0),
            disable_launch_config_check=True,
        )
    )
    found: Counter[str] = Counter()
    for request in reply.to_launch:
        found[request.instance_type] += request.count
    return found - Counter({cluster["head_node_type"]: 1})


@pytest.mark.parametrize("name", RAY_UP)
def test_spot_comes_first_and_on_demand_where_spot_cannot_be_had(name: str) -> None:
    [cluster] = documents(name)
    assert launched(cluster, 3) == {"l4": 3}
    assert launched(cluster, 3, failed=("l4",)) == {"l4-on-demand": 3}
    assert launched(cluster, 99) == {"l4": 16, "l4-on-demand": 4}
    for role in ("head", "worker"):
        [start] = [line for line in cluster[f"{role}_start_ray_commands"] if "ray start" in line]
        assert "RAY_enable_autoscaler_v2=1" in start, "only that one knows labels and priorities"


@pytest.mark.parametrize("name", RAY_UP)
def test_every_kind_of_gpu_can_be_the_one(name: str) -> None:
    [cluster] = documents(name)
    kinds = cluster["available_node_types"]
    gpus = [kind for kind, node in kinds.items() if "GPU" in node["resources"]]
    offered = [kind for kind in gpus if kinds[kind]["max_workers"]]
    assert offered == ["l4", "l4-on-demand"], "one kind of GPU a run"
    for spot in [kind for kind in gpus if not kind.endswith("-on-demand")]:
        chosen = copy.deepcopy(cluster)
        for kind in gpus:
            chosen["available_node_types"][kind]["max_workers"] = 2 * (kind == spot)
        each = kinds[spot]["resources"]["GPU"]
        assert launched(chosen, each + 1) == {spot: 2}


def test_aws_starts_these_nodes_with_their_image_role_and_market(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's AWS code, with moto in place of EC2."""
    import boto3
    from moto import mock_aws
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    (tmp_path / ".ssh").mkdir()  # Ray leaves the key of the cluster there
    variables = {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    [cluster] = documents("aws.yaml")
    with mock_aws():
        for profile in ("rerank-head", "rerank-node"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=profile)
        ready = bootstrap_aws(prepare_config(copy.deepcopy(cluster)))
        provider = AWSNodeProvider(ready["provider"], cluster["cluster_name"])
        found = {}
        for kind in ("head", "cpu", "l4", "l4-on-demand"):
            node = ready["available_node_types"][kind]["node_config"]
            [identity] = provider.create_node(node, {}, 1)
            client = boto3.client("ec2", region_name=cluster["provider"]["region"])
            [held] = client.describe_instances(InstanceIds=[identity])["Reservations"]
            found[kind] = held["Instances"][0]
    assert {instance["ImageId"] for instance in found.values()} == {
        "resolve:ssm:/aws/service/deeplearning/ami/x86_64/"
        "base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
    }
    markets = {kind: instance.get("InstanceLifecycle") for kind, instance in found.items()}
    assert markets == {"head": None, "cpu": None, "l4": "spot", "l4-on-demand": None}
    for kind, instance in found.items():
        role = instance["IamInstanceProfile"]["Arn"].partition("/")[2]
        assert role == ("rerank-head" if kind == "head" else "rerank-node")
        assert instance["MetadataOptions"]["HttpTokens"] == "required"


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
