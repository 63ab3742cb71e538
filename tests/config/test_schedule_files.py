"""The schedules of conf/schedule hold to what those who read them accept."""

from __future__ import annotations

import ast
import configparser
import copy
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.checkpoints import cards
from pipeline.cli import app
from pipeline.config import RefreshConfig, load_config
from pipeline.errors import ExitCode
from tests.config.test_cluster_files import CRD, GROUPS, closed

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "conf" / "schedule"
KUBERAY, KUBERNETES = "kuberay-raycronjob.yaml", "kubernetes-cronjob.yaml"
MANIFESTS = [KUBERAY, KUBERNETES]
OTHERS = ["airflow_dag.py", "crontab", "rerank-refresh.service", "rerank-refresh.timer"]

#: What ends in the same way when it is tried again, so that nobody tries it again.
FINAL = {
    ExitCode.CONFIGURATION,
    ExitCode.INPUT_CONTRACT,
    ExitCode.QUARANTINE,
    ExitCode.GATE,
    ExitCode.DENIED,
}

Change = Callable[[dict[str, Any]], object]


def manifest(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job file's ConfigMap, and what is scheduled."""
    job, schedule = yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
    return job, schedule


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def accepts(words: list[str]) -> bool:
    """Whether ``rerank`` has the command and the options."""
    result = CliRunner().invoke(app, [*words, "--help"])
    offered = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", result.output))
    used = {word.split("=")[0] for word in words if word.startswith("-")}
    return result.exit_code == 0 and used <= offered


def test_every_schedule_is_one_that_is_checked_here() -> None:
    found = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
    assert found == sorted([*MANIFESTS, *OTHERS])


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_job_of_a_manifest_is_valid(name: str) -> None:
    config, _ = manifest(name)
    job = load_config(RefreshConfig, config["data"]["refresh.yaml"], source=name)
    cards.resolve(job.model)
    assert "refresh" in job.model_fields_set


@cache
def rayjob_schema() -> dict[str, Any]:
    """The spec of a RayJob."""
    if not CRD.is_file():
        pytest.skip("needs ../shared/data/kuberay, the RayJob definition of KubeRay")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in seconds, of 1.4 MB
    definition = yaml.load(CRD.read_text(encoding="utf-8"), Loader=loader)
    [version] = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    return closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


@pytest.fixture(scope="module")
def raycronjob() -> jsonschema.Draft7Validator:
    """What KubeRay's operator accepts: the spec of a RayJob, and when.

    The keys are those of RayCronJobSpec in ray-operator/apis/ray/v1/raycronjob_types.go.
    """
    spec = {
        "type": "object",
        "required": ["schedule", "jobTemplate"],
        "properties": {
            "schedule": {"type": "string"},
            "timeZone": {"type": "string", "minLength": 1},
            "suspend": {"type": "boolean"},
            "jobTemplate": rayjob_schema(),
        },
    }
    return whole("ray.io/v1", "RayCronJob", spec)


@pytest.fixture(scope="module")
def cronjob() -> jsonschema.Draft7Validator:
    """What Kubernetes accepts of a CronJob (batch/v1); pods as KubeRay's definition has them."""
    pods = rayjob_schema()["properties"]["submitterPodTemplate"]
    count = {"type": "integer", "minimum": 0}
    codes = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
    on_exit_codes = {
        "type": "object",
        "required": ["operator", "values"],
        "properties": {
            "containerName": {"type": "string"},
            "operator": {"enum": ["In", "NotIn"]},
            "values": codes,
        },
    }
    condition = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string"}, "status": {"enum": ["True", "False"]}},
    }
    rule = {
        "type": "object",
        "required": ["action"],
        "properties": {
            "action": {"enum": ["FailJob", "FailIndex", "Ignore", "Count"]},
            "onExitCodes": on_exit_codes,
            "onPodConditions": {"type": "array", "items": condition},
        },
    }
    job = {
        "type": "object",
        "required": ["template"],
        "properties": {
            "activeDeadlineSeconds": count,
            "backoffLimit": count,
            "podFailurePolicy": {
                "type": "object",
                "required": ["rules"],
                "properties": {"rules": {"type": "array", "items": rule}},
            },
            "template": pods,
        },
    }
    template = {"type": "object", "required": ["spec"], "properties": {"spec": job}}
    spec = {
        "type": "object",
        "required": ["schedule", "jobTemplate"],
        "properties": {
            "schedule": {"type": "string"},
            "timeZone": {"type": "string", "minLength": 1},
            "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
            "startingDeadlineSeconds": count,
            "successfulJobsHistoryLimit": count,
            "failedJobsHistoryLimit": count,
            "suspend": {"type": "boolean"},
            "jobTemplate": template,
        },
    }
    return whole("batch/v1", "CronJob", spec)


def whole(version: str, kind: str, spec: dict[str, Any]) -> jsonschema.Draft7Validator:
    properties = {
        "apiVersion": {"const": version},
        "kind": {"const": kind},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": spec,
    }
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return jsonschema.Draft7Validator(closed(schema))


def test_kuberay_takes_the_schedule(raycronjob: jsonschema.Draft7Validator) -> None:
    _, schedule = manifest(KUBERAY)
    assert [error.message for error in raycronjob.iter_errors(schedule)] == []


def test_kubernetes_takes_the_schedule(cronjob: jsonschema.Draft7Validator) -> None:
    _, schedule = manifest(KUBERNETES)
    assert [error.message for error in cronjob.iter_errors(schedule)] == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (KUBERAY, lambda spec: spec.update(timezone="Etc/UTC")),
        (KUBERAY, lambda spec: spec.pop("schedule")),
        (KUBERAY, lambda spec: spec.update(concurrencyPolicy="Forbid")),
        (KUBERAY, lambda spec: spec["jobTemplate"].update(entrypont="python")),
        (KUBERNETES, lambda spec: spec.update(concurrencyPolicy="Never")),
        (KUBERNETES, lambda spec: spec["jobTemplate"]["spec"].update(backOffLimit=3)),
        (KUBERNETES, lambda spec: spec["jobTemplate"]["spec"]["template"].update(container=[])),
    ],
)
def test_a_mistake_in_a_schedule_is_seen(
    request: pytest.FixtureRequest, name: str, change: Change
) -> None:
    _, schedule = manifest(name)
    schedule = copy.deepcopy(schedule)
    change(schedule["spec"])
    reader = request.getfixturevalue("raycronjob" if name == KUBERAY else "cronjob")
    assert list(reader.iter_errors(schedule))


def test_the_cluster_of_the_schedule_fits_its_job() -> None:
    config, schedule = manifest(KUBERAY)
    job = load_config(RefreshConfig, config["data"]["refresh.yaml"], source=KUBERAY)
    spec = schedule["spec"]["jobTemplate"]
    assert spec["entrypoint"] == "rerank refresh -c /etc/rerank/refresh.yaml"
    groups = {group["groupName"]: group for group in spec["rayClusterSpec"][GROUPS]}
    assert job.replicas.labels == groups["gpu-spot"]["labels"]
    assert job.ray.task_labels == groups["cpu"]["labels"]
    assert job.replicas.most == groups["gpu-spot"]["maxReplicas"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    [head] = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert head["configMap"]["name"] == config["metadata"]["name"]


def test_the_pod_sends_the_job_and_gives_up_where_trying_again_is_in_vain() -> None:
    config, schedule = manifest(KUBERNETES)
    job = schedule["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    [container] = pod["containers"]
    assert accepts([*container["command"][1:], *container["args"]])
    assert pod["restartPolicy"] == "Never"  # without which there is no podFailurePolicy
    _, final = job["podFailurePolicy"]["rules"]
    assert final["onExitCodes"]["containerName"] == container["name"]
    assert set(final["onExitCodes"]["values"]) == FINAL
    assert pod["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]


@pytest.mark.parametrize("name", [n for n in OTHERS if n.startswith("rerank-refresh")])
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    """``systemd-analyze verify``, with a command that is there in the place of ours."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    for unit in FOLDER.glob("rerank-refresh.*"):
        there = unit.read_text(encoding="utf-8").replace("/opt/rerank/bin/rerank", "/bin/true")
        (tmp_path / unit.name).write_text(there, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    # Whatever is wrong with other units of this machine is not ours.
    ours = [line for line in done.stderr.splitlines() if "rerank-refresh" in line]
    assert ours == []


def test_the_units_of_systemd_say_what_the_documentation_says() -> None:
    timer, service = (ini(f"rerank-refresh.{kind}") for kind in ("timer", "service"))
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Timer"]["OnCalendar"].endswith("UTC")
    assert accepts(shlex.split(service["Service"]["ExecStart"])[1:])
    assert service["Service"]["SuccessExitStatus"] == str(int(ExitCode.HELD))
    kept = {int(code) for code in service["Service"]["RestartPreventExitStatus"].split()}
    assert kept == FINAL


def ini(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text(name))
    return parser


def test_the_line_of_cron_runs_a_night() -> None:
    lines = [line for line in text("crontab").splitlines() if line and line[0] not in "#SM"]
    [line] = lines
    *times, command = line.split(None, 5)
    assert times == ["0", "2", "*", "*", "*"]
    assert re.search(r"(?<!\\)%", command) is None  # a bare one would be the end of the command
    spoken = command.replace("\\%", "%").replace("/opt/rerank/bin/rerank", "printf '%s\\n'")
    spoken = spoken.replace("cd /var/lib/rerank", "true").rpartition(">>")[0]
    done = subprocess.run(["/bin/sh", "-c", spoken], capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert accepts(words)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", words[-1])


#: What is called with keywords in the DAG, and the keywords that Airflow 3 takes there.
AIRFLOW = {
    "DAG": {
        "dag_id", "schedule", "start_date", "catchup", "max_active_runs", "default_args", "tags",
    },
    "CronDataIntervalTimetable": {"timezone"},
    "datetime": {"tz"},
    "timedelta": {"minutes", "hours"},
    "run": {"check"},
}  # fmt: skip

#: Arguments of BaseOperator that a DAG gives to all of its tasks.
OPERATOR = {"depends_on_past", "retries", "retry_delay", "execution_timeout"}


def test_airflow_takes_the_dag() -> None:
    tree = ast.parse(text("airflow_dag.py"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func).split(".")[-1]
        assert {keyword.arg for keyword in call.keywords} <= AIRFLOW.get(called, set()), called
    [dag] = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "DAG"]
    given = {keyword.arg: keyword.value for keyword in dag.keywords}
    assert isinstance(given["default_args"], ast.Dict)
    assert {ast.literal_eval(key) for key in given["default_args"].keys if key} == OPERATOR
    assert ast.literal_eval(given["max_active_runs"]) == 1
    constants = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    assert constants["FINAL"] == FINAL
    assert constants["HELD"] == ExitCode.HELD
    [command] = [n for n in ast.walk(tree) if isinstance(n, ast.List) and len(n.elts) > 1]
    assert accepts([str(getattr(word, "value", "2026-01-31")) for word in command.elts[1:]])


def test_airflow_itself_loads_the_dag() -> None:
    pytest.importorskip("airflow.sdk", reason="needs Airflow")
    namespace: dict[str, Any] = {"__name__": "airflow_dag"}
    exec(compile(text("airflow_dag.py"), "airflow_dag.py", "exec"), namespace)
    assert "refresh" in namespace
